"""The settings of the catalog stores; ``settings.Settings`` has them and all others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from tams_gql.settings_sources import Note, env_name

_NEEDED_BY_VAST = ("vast_endpoints", "vast_access_key", "vast_secret_key", "vast_bucket")
_ENDPOINTS = "none, or URLs such as http://vast.example.com:80 without a path, separated by commas"
_BUCKET = "a bucket's name"
_DIRECTORY = "a directory, or a path where one can be made"
_AUTHORITIES = "true, false, or a file of CAs (PEM)"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SWITCHES = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def lower(value: object) -> object:
    """Let words be given in any case."""
    return value.lower() if isinstance(value, str) else value


def split(value: object) -> object:
    """Read ``a, b`` as a list; ``none`` is the empty list, as an empty variable means unset."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    return () if parts == ["none"] else parts


def is_base_url(url: str) -> bool:
    """Whether it is an absolute http or https URL that paths can be added to."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (reading it checks it)
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and not any(char in url for char in "?#")
        and not url.endswith("/")
        and url.isascii()
        and not any(char.isspace() for char in url)
    )


def absolute(path: Path, allowed: str) -> Path:
    """Make a path absolute, once and for all; ``ValueError`` if no file can have it."""
    try:
        path = path.expanduser().absolute()
        path.exists()
    except (OSError, RuntimeError, ValueError) as refused:
        # An unknown home, a name that is too long, a directory that is closed to this user, U+0000.
        reason = refused.strerror if isinstance(refused, OSError) else str(refused)
        raise ValueError(f"{allowed}; {str(reason).rstrip('.')}") from None
    return path


def _switch(value: object) -> object:
    return _SWITCHES.get(value.lower(), value) if isinstance(value, str) else value


class StoreSettings(BaseSettings):
    """Where the catalog is kept, and how."""

    data_dir: Annotated[Path, Note(allowed=_DIRECTORY)] = Field(
        Path(".data"),
        description="Directory of the embedded catalog and the local media; relative paths start "
        "at the working directory.",
    )
    sqlite_synchronous: Annotated[Literal["full", "normal"], BeforeValidator(lower)] = Field(
        "full",
        description="`full`: a committed write survives a power loss. `normal`: it survives the "
        "end of the process, and writes are faster.",
    )
    store_readers: int = Field(
        4,
        ge=1,
        le=64,
        description="Threads that read the embedded store, each with its own connection.",
    )
    vast_endpoints: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(split), Note(allowed=_ENDPOINTS)
    ] = Field((), description="Addresses of the VAST cluster; calls are spread over them.")
    vast_access_key: Annotated[SecretStr | None, Note(allowed="an access key")] = Field(
        None, min_length=1, description="Access key of the user that the server is on the cluster."
    )
    vast_secret_key: Annotated[SecretStr | None, Note(allowed="a secret key")] = Field(
        None, min_length=1, description="Secret key that belongs to the access key."
    )
    vast_bucket: Annotated[str | None, Note(allowed=_BUCKET)] = Field(
        None, description="Bucket of the database; it must exist."
    )
    vast_schema: Annotated[
        str, Note(allowed="up to 128 letters, digits, dots, hyphens and underscores")
    ] = Field("tams", description="Schema of the catalog in the bucket; made if it is missing.")
    vast_timeout: Annotated[int, Note(unit="seconds")] = Field(
        30, ge=1, le=3600, description="Longest wait for one answer of the cluster."
    )
    vast_read_threads: int = Field(
        8, ge=1, le=256, description="Calls that read the cluster at once, in this process."
    )
    vast_write_threads: int = Field(
        4, ge=1, le=64, description="Commits to the cluster at once, in this process."
    )
    vast_verify_tls: Annotated[
        bool | Path, BeforeValidator(_switch), Note(allowed=_AUTHORITIES)
    ] = Field(
        True, description="Check the cluster's certificate; a file names the only CAs to trust."
    )
    vast_isolation: Annotated[
        Literal["auto", "snapshot", "read_committed"], BeforeValidator(lower)
    ] = Field(
        "auto",
        description="What the cluster's transactions see of others' commits; `auto` tries it at "
        "start.",
    )
    vast_conflicts: Annotated[Literal["auto", "row", "none"], BeforeValidator(lower)] = Field(
        "auto",
        description="Whether the cluster refuses two open transactions that write one row; "
        "`auto` tries it at start. `none` is the safe mode, which costs more calls.",
    )
    vast_reads: Annotated[Literal["transaction", "direct"], BeforeValidator(lower)] = Field(
        "transaction",
        description="`direct` reads without a transaction: fewer calls, but the reads of one "
        "request may see different states.",
    )
    vast_plain_queries: bool = Field(
        False, description="Query with the SDK's public `select` only; slower."
    )
    # After the settings that it may need, which are checked before it.
    store: Annotated[Literal["embedded", "vast"], BeforeValidator(lower)] = Field(
        "embedded",
        description="Catalog store; `embedded` is SQLite inside this program, `vast` a VAST "
        "Database.",
    )

    @field_validator("data_dir")
    @classmethod
    def _data_dir_is_absolute(cls, path: Path) -> Path:
        # Made absolute once, so that a later change of the working directory changes nothing.
        path = absolute(path, _DIRECTORY)
        if path.exists() and not path.is_dir():
            raise ValueError("a directory; this is a file")
        return path

    @field_validator("vast_endpoints")
    @classmethod
    def _endpoints_are_urls(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in endpoints:
            if not is_base_url(endpoint) or urlsplit(endpoint).path:
                raise ValueError(_ENDPOINTS)
        if len({urlsplit(endpoint).scheme for endpoint in endpoints}) > 1:
            raise ValueError("either http or https for all endpoints")
        return endpoints

    @field_validator("vast_bucket")
    @classmethod
    def _bucket_is_a_name(cls, bucket: str | None) -> str | None:
        if bucket is not None and not _NAME.fullmatch(bucket):
            raise ValueError(_BUCKET)
        return bucket

    @field_validator("vast_schema")
    @classmethod
    def _schema_is_a_name(cls, schema: str) -> str:
        if not _NAME.fullmatch(schema):
            raise ValueError("up to 128 letters, digits, dots, hyphens and underscores")
        return schema

    @field_validator("vast_verify_tls")
    @classmethod
    def _authorities_are_a_file(cls, verify: bool | Path) -> bool | Path:
        if isinstance(verify, bool):
            return verify
        path = absolute(verify, _AUTHORITIES)
        if not path.is_file():
            raise ValueError(f"{_AUTHORITIES}; there is no such file")
        return path

    @field_validator("store")
    @classmethod
    def _store_has_its_settings(cls, store: str, info: ValidationInfo) -> str:
        # A setting that was refused itself is missing from the data, and has its own problem.
        unset = [name for name in _NEEDED_BY_VAST if name in info.data and not info.data[name]]
        if store == "vast" and unset:
            names = " and ".join(map(env_name, unset))
            raise ValueError(f"given together with {names}, which {_is(unset)} not set")
        return store

    @property
    def catalog_file(self) -> Path:
        """The file of the embedded store."""
        return self.data_dir / "catalog.sqlite3"

    @property
    def media_dir(self) -> Path:
        """The directory of the local media folder."""
        return self.data_dir / "media"

    @property
    def catalog_place(self) -> str:
        """Where the catalog is, in words."""
        if self.store == "embedded":
            return str(self.catalog_file)
        return f"schema {self.vast_schema} in bucket {self.vast_bucket} of the VAST cluster"


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
