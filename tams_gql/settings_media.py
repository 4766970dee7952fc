"""The settings of where media is kept; ``settings.Settings`` has them and all others."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from tams_gql.media.s3.config import S3BackendSettings
from tams_gql.settings_sources import Note, env_name

LOCAL_LABEL = "local"
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


def _once(field: str, found: list[str]) -> None:
    for value in found:
        if found.count(value) > 1:
            raise ValueError(f"backends of different {field}; two have {value!r}")
