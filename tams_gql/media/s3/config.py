"""What an operator says of an S3 backend, and how one is opened."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from tams_gql.media.cdn.config import UrlSigner
from tams_gql.media.cdn.signer import CdnSigner
from tams_gql.media.keys import DEFAULT_TEMPLATE, KeyTemplate
from tams_gql.media.port import MAX_EXPIRES_IN, StorageBackend
from tams_gql.media.s3.credentials import (
    CredentialKeeper,
    CredentialSource,
    EnvironmentSource,
    FilesSource,
    FixedSource,
)
from tams_gql.media.s3.signing import Credentials
from tams_gql.model.errors import BadInput

if TYPE_CHECKING:
    from tams_gql.media.s3.backend import S3Media, UrlAuthoriser

_MIB: Final = 2**20
_MAX_COPY_BYTES: Final = 5 * 2**30  # CopyObject of S3 takes no more
_ANY_ID: Final = "00000000-0000-4000-8000-000000000000"  # to check the rest before there is one


def _url(value: str) -> str:
    parts = urlsplit(value)
    # What is beyond ASCII would be signed as it stands here, and asked for percent-encoded.
    plain = value.isascii() and value.isprintable() and not set(value) & set(" ?#")
    whole = parts.hostname and parts.port != 0 and parts.username is None
    if parts.scheme not in ("http", "https") or not (plain and whole):
        raise ValueError(
            "must be an http or https URL in printable ASCII, without user name, query and fragment"
        )
    return value.rstrip("/")


_Url = Annotated[str, AfterValidator(_url)]
_Text = Annotated[str, Field(min_length=1, max_length=255)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
# The rules of AWS and what older stores allow beyond them; never a slash, which would be a key.
_Bucket = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ChainCredentials(_Model):
    """Found as all AWS tools find them; see the documentation of AWS for the order."""

    kind: Literal["chain"] = "chain"
    profile: _Text | None = None
    credentials_file: Path | None = None

    def source(self) -> CredentialSource:
        from tams_gql.media.s3.chain import ChainSource

        return ChainSource(profile=self.profile, credentials_file=self.credentials_file)


class KeyCredentials(_Model):
    """Written into the configuration itself."""

    kind: Literal["keys"]
    access_key_id: _Text
    secret_access_key: SecretStr = Field(min_length=1)
    session_token: SecretStr | None = None

    def source(self) -> CredentialSource:
        token = self.session_token
        return FixedSource(
            Credentials(
                self.access_key_id,
                self.secret_access_key.get_secret_value(),
                None if token is None else token.get_secret_value(),
            )
        )


class EnvironmentCredentials(_Model):
    """In environment variables; the fields are their names."""

    kind: Literal["environment"]
    access_key_id: _Name
    secret_access_key: _Name
    session_token: _Name | None = None

    def source(self) -> CredentialSource:
        return EnvironmentSource(self.access_key_id, self.secret_access_key, self.session_token)


class FileCredentials(_Model):
    """In one file each, read again and again, so that they can be rotated."""

    kind: Literal["files"]
    access_key_id: Path
    secret_access_key: Path
    session_token: Path | None = None

    def source(self) -> CredentialSource:
        return FilesSource(self.access_key_id, self.secret_access_key, self.session_token)


AnyCredentials = Annotated[
    ChainCredentials | KeyCredentials | EnvironmentCredentials | FileCredentials,
    Field(discriminator="kind"),
]


class S3BackendSettings(_Model):
    """One bucket as a storage backend. Times are in seconds and sizes in bytes.

    Without an ``id`` the catalog has to give one, which ``with_id`` takes.

    ``endpoint`` is where this program reaches the store, None for AWS; ``public_endpoint`` is
    where clients do, if that is another address. URLs are presigned for the latter.
    ``public_base_url`` is what stands before the key in GET and HEAD URLs instead: of a bucket that
    anybody may read (``presigned`` false), or of a CDN (``presigned`` true; the caller of
    ``open_s3`` gives its signer, which ``url_signer`` describes). Uploads are always presigned.
    ``url_lifetime`` is the longest life of a URL here, whatever is asked for.
    """

    id: str | None = None
    label: _Text
    tags: dict[str, str | tuple[str, ...]] = {}
    provider: _Text | None = None
    region: _Text | None = None
    availability_zone: _Text | None = None
    store_product: _Text | None = None
    default: bool = False

    bucket: _Bucket
    endpoint: _Url | None = None
    public_endpoint: _Url | None = None
    addressing: Literal["auto", "path", "virtual"] = "auto"
    key_template: str = DEFAULT_TEMPLATE
    key_prefix: str = ""
    credentials: AnyCredentials = ChainCredentials()
    ca_file: Path | None = None

    presigned: bool = True
    public_base_url: _Url | None = None
    url_signer: UrlSigner | None = None
    url_lifetime: int = Field(MAX_EXPIRES_IN, ge=1, le=MAX_EXPIRES_IN)

    connect_timeout: float = Field(5.0, gt=0, le=300)
    read_timeout: float = Field(60.0, gt=0, le=3_600)
    max_attempts: int = Field(4, ge=1, le=20)
    max_connections: int = Field(32, ge=1, le=1_000)
    credentials_recheck: float = Field(30.0, ge=0.05, le=3_600)
    # The multipart limits are those of S3: no part but the last may be under 5 MiB.
    multipart_copy_above: int = Field(1024 * _MIB, ge=5 * _MIB, le=_MAX_COPY_BYTES)
    copy_part_bytes: int = Field(256 * _MIB, ge=5 * _MIB, le=_MAX_COPY_BYTES)
    # Of copies from other stores, which come through this program's memory.
    upload_part_bytes: int = Field(8 * _MIB, ge=5 * _MIB, le=1024 * _MIB)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.presigned and self.public_base_url is None:
            raise ValueError("presigned: false needs a public_base_url")
        if self.url_signer is not None and not (self.presigned and self.public_base_url):
            raise ValueError("url_signer: needs a public_base_url and presigned: true")
        try:
            self._backend(self.id or _ANY_ID)
            self.keys()
        except BadInput as error:
            raise ValueError(error.message) from None
        return self

    @property
    def addressing_style(self) -> str:
        """For botocore, whose own ``auto`` signs for the global endpoint of AWS: new buckets in
        other regions answer that with a redirect."""
        if self.addressing != "auto":
            return self.addressing
        return "virtual" if self.endpoint is None else "path"

    def keys(self) -> KeyTemplate:
        """How new keys look. Raises BadInput if the template cannot be used."""
        return KeyTemplate(self.key_template, prefix=self.key_prefix)

    def with_id(self, storage_id: str, *, default: bool) -> S3BackendConfig:
        """The same with its id, as the default backend or not."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return S3BackendConfig(**{**values, "id": storage_id, "default": default})

    def _backend(self, storage_id: str) -> StorageBackend:
        return StorageBackend(
            id=storage_id,
            label=self.label,
            provider=self.provider,
            region=self.region,
            availability_zone=self.availability_zone,
            store_product=self.store_product,
            tags=self.tags,
            default=self.default,
            presigned=self.presigned,
        )


class S3BackendConfig(S3BackendSettings):
    """The same with an id, ready to be opened."""

    id: str

    def backend(self) -> StorageBackend:
        """What clients are told. Raises BadInput if the id is no lower-case UUID."""
        return self._backend(self.id)


async def open_s3(
    config: S3BackendConfig,
    *,
    authorise: UrlAuthoriser | CdnSigner | None = None,
    patient: bool = False,
    clock: Callable[[], float] = time.time,
) -> S3Media:
    """Open a backend; end it with ``aclose``. The store itself is not asked anything yet.

    ``authorise`` adds a CDN's own authorisation to the URLs below ``public_base_url``; ``clock``
    gives the Unix seconds that URLs are signed for.
    Raises BadInput if the configuration cannot work, and Unavailable if there are no credentials;
    if ``patient``, they may come later, and until then the backend raises that itself.
    """
    if (config.presigned and config.public_base_url is not None) != (authorise is not None):
        raise BadInput(
            f"storage backend {config.label}: a signer of URLs belongs to a public_base_url of a"
            " backend that is presigned, and such a backend needs one"
        )
    # aiobotocore takes a third of a second to import; a server without S3 need not wait for it.
    from tams_gql.media.s3.backend import S3Media
    from tams_gql.media.s3.client import open_client

    async with AsyncExitStack() as stack:
        keeper = CredentialKeeper(
            config.credentials.source(), recheck_seconds=config.credentials_recheck, clock=clock
        )
        stack.push_async_callback(keeper.aclose)
        await keeper.start(patient=patient)
        client, place = await open_client(stack, config, keeper)
        return S3Media(
            config,
            client,
            place,
            keeper,
            authorise=authorise,
            closing=stack.pop_all(),
            clock=clock,
        )
