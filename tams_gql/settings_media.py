"""The settings of where media is kept; ``settings.Settings`` has them and all others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from tams_gql.media.external.rules import host_rule, network_rule
from tams_gql.media.s3.config import S3BackendSettings
from tams_gql.settings_sources import Note, env_name
from tams_gql.settings_store import split

LOCAL_LABEL = "local"
_HOSTS = "none, *, or hosts such as media.example.com, *.example.com:8443 separated by commas"
_NETWORKS = "none, or networks such as 10.1.0.0/16 separated by commas"
_BACKENDS = "none, or a list of tables in the file, of objects in JSON"


def _listed(value: object) -> object:
    """Read JSON as an environment variable holds it; ``none`` is the empty list."""
    if not isinstance(value, str):
        return value
    if value.strip() == "none":
        return ()
    try:
        read = json.loads(value)
    except ValueError:
        # Not chained, and without the text: it may hold secrets.
        raise ValueError("a list of objects in JSON; it is not JSON") from None
    if not isinstance(read, list):
        raise ValueError("a list of objects in JSON")
    return read


class MediaSettings(BaseSettings):
    """The storage backends."""

    local_media: bool = Field(
        True, description="Offer the local media folder as a storage backend."
    )
    # After the switch, with which it is checked.
    storage_backends: Annotated[
        tuple[S3BackendSettings, ...],
        NoDecode,
        BeforeValidator(_listed),
        Note(allowed=_BACKENDS, secret=True),
    ] = Field(
        (),
        max_length=100,
        validate_default=True,
        description="Buckets in S3 and stores like it, with the fields of "
        "[media-s3.md](media-s3.md#fields).",
    )

    # Copies that clients have registered outside the storage
    external_copy_hosts: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(split), Note(allowed=_HOSTS)
    ] = Field(
        (),
        max_length=1000,
        description="Hosts from which objects that lie elsewhere may be copied into a storage "
        "backend; without a port, 80 and 443.",
    )
    external_copy_networks: Annotated[
        tuple[str, ...], NoDecode, BeforeValidator(split), Note(allowed=_NETWORKS)
    ] = Field(
        (),
        max_length=1000,
        description="Networks that such copies may be read from although they are not public.",
    )
    external_copy_max_bytes: Annotated[int, Note(unit="bytes")] = Field(
        5 * 2**30, ge=1, le=5 * 2**40, description="Largest object that is copied from elsewhere."
    )
    external_copy_timeout: Annotated[int, Note(unit="seconds")] = Field(
        1800, ge=1, le=86_400, description="Longest time that reading one from elsewhere may take."
    )

    @field_validator("external_copy_hosts")
    @classmethod
    def _hosts_are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return _readable(hosts, host_rule, _HOSTS)

    @field_validator("external_copy_networks")
    @classmethod
    def _networks_are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return _readable(networks, network_rule, _NETWORKS)

    @field_validator("storage_backends")
    @classmethod
    def _backends_fit_together(
        cls, backends: tuple[S3BackendSettings, ...], info: ValidationInfo
    ) -> tuple[S3BackendSettings, ...]:
        local = info.data.get("local_media", True)
        if not local and not backends:
            raise ValueError(f"given if {env_name('local_media')} is false: no storage is left")
        # The folder keeps its label even while it is off: the catalog knows its id by it.
        _once("label", [LOCAL_LABEL, *(backend.label for backend in backends)])
        _once("id", [backend.id for backend in backends if backend.id is not None])
        for backend in backends:
            if backend.presigned and backend.public_base_url and not backend.url_signer:
                problem = "a public_base_url with a url_signer or presigned: false"
                raise ValueError(f"backends that have {problem}; {backend.label!r} has neither")
        if sum(backend.default for backend in backends) > 1:
            raise ValueError("at most one backend with `default`")
        return backends


def _readable(
    texts: tuple[str, ...], read: Callable[[str], object], allowed: str
) -> tuple[str, ...]:
    for text in texts:
        try:
            read(text)
        except ValueError:
            raise ValueError(f"{allowed}; {text!r} is not one") from None
    return texts


def _once(field: str, found: list[str]) -> None:
    for value in found:
        if found.count(value) > 1:
            raise ValueError(f"backends of different {field}; two have {value!r}")
