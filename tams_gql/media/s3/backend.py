"""Media in a bucket of an S3-compatible store. Bytes go between clients and the store alone."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

from tams_gql.media.cdn.signer import CdnSigner
from tams_gql.media.keys import check_key
from tams_gql.media.port import (
    MAX_EXPIRES_IN,
    CopyProgress,
    ListedObject,
    MediaBackend,
    ObjectStat,
    PutRequest,
    ReadMethod,
    SignedRequest,
    StorageBackend,
    check_content_type,
    check_expires_in,
)
from tams_gql.media.reading import copy_through, found_in
from tams_gql.media.s3.client import Place, S3Client
from tams_gql.media.s3.concurrency import each
from tams_gql.media.s3.config import S3BackendConfig
from tams_gql.media.s3.copying import Copier, CopySource
from tams_gql.media.s3.credentials import CredentialKeeper
from tams_gql.media.s3.deletion import Deleter
from tams_gql.media.s3.failures import FORBIDDEN, S3Failure
from tams_gql.media.s3.signing import Method, Presigner, Terms, quoted_path
from tams_gql.media.s3.transfer import Uploader, read_object
from tams_gql.model.errors import Conflict, NotFound, TamsError, Unavailable

logger = logging.getLogger(__name__)

_LISTED_AT_ONCE: Final = 1_000  # the most that S3 gives
_NOTICED_SKEW_SECONDS: Final = 60.0
_FAREWELL_SECONDS: Final = 2.0
_CHECKSUMS: Final = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")


class UrlAuthoriser(Protocol):
    """Adds the authorisation of a CDN to public URLs, for a whole page with one call. No I/O."""

    def __call__(self, urls: Sequence[str], *, method: ReadMethod, expires_at: int) -> list[str]:
        """The same URLs in the same order, good until ``expires_at`` (Unix seconds)."""
        ...


class S3Media:
    """A storage backend in one bucket. Keeps the contract of ``port.MediaBackend``.

    Made by ``config.open_s3``. A URL lives as long as asked for, unless the backend's
    ``url_lifetime`` or the credentials that sign it end earlier.
    """

    def __init__(
        self,
        config: S3BackendConfig,
        client: S3Client,
        place: Place,
        keeper: CredentialKeeper,
        *,
        authorise: UrlAuthoriser | CdnSigner | None,
        closing: AsyncExitStack,
        clock: Callable[[], float],
    ) -> None:
        """``closing`` ends the client and the keeper; ``clock`` gives Unix seconds."""
        self._backend = config.backend()
        self._keys = config.keys()
        self._config = config
        self._client = client
        self._keeper = keeper
        self._cdn = None if authorise is None or callable(authorise) else authorise
        self._authorise = authorise if callable(authorise) else None
        self._closing = closing
        self._clock = clock
        self._presigner = Presigner(place.base_url, place.region)
        self._deleter = Deleter(client, config.bucket, limit=config.max_connections)
        self._copier = Copier(
            client,
            config.bucket,
            threshold=config.multipart_copy_above,
            part_bytes=config.copy_part_bytes,
        )
        self._uploader = Uploader(client, config.bucket, part_bytes=config.upload_part_bytes)

    def __repr__(self) -> str:
        return f"S3Media({self._backend.id})"

    async def aclose(self) -> None:
        """Close all connections and stop renewing the credentials."""
        await self._closing.aclose()

    @property
    def backend(self) -> StorageBackend:
        return self._backend

    @property
    def signs_slowly(self) -> bool:
        return self._cdn is not None and self._cdn.slow

    def new_key(self, object_id: str, *, flow_id: str, now: datetime) -> str:
        return self._keys.render(object_id, flow_id=flow_id, now=now)

    def sign_get(
        self, keys: Sequence[str], *, expires_in: int, method: ReadMethod = "GET"
    ) -> list[str]:
        terms = self._terms(method, expires_in)
        base = self._config.public_base_url
        # A signer that is built in would give out the bytes on a HEAD URL: CDNs do not tell.
        if base is None or (method == "HEAD" and self._cdn is not None):
            return self._presigner.urls(keys, terms, self._keeper.current())
        urls = [f"{base}/{quoted_path(key)}" for key in keys]
        expires_at = terms.now + terms.expires_in
        if self._cdn is not None:
            return self._cdn.sign(urls, expires_at)
        if self._authorise is not None:
            return self._authorised(self._authorise, urls, method, expires_at)
        return urls

    def sign_put(self, items: Sequence[PutRequest], *, expires_in: int) -> list[SignedRequest]:
        terms, credentials = self._terms("PUT", expires_in), self._keeper.current()
        ends = min(terms.now + terms.expires_in, credentials.expires_at or float("inf"))
        expires_at = datetime.fromtimestamp(ends, UTC)
        urls: dict[int, str] = {}
        for content_type in {item.content_type for item in items}:
            check_content_type(content_type)
            places = [at for at, item in enumerate(items) if item.content_type == content_type]
            signed = self._presigner.urls(
                [items[at].key for at in places],
                terms._replace(content_type=content_type),
                credentials,
            )
            urls.update(zip(places, signed, strict=True))
        return [
            SignedRequest(urls[at], (("Content-Type", item.content_type),), expires_at)
            for at, item in enumerate(items)
        ]

    async def stat(self, keys: Sequence[str]) -> list[ObjectStat | None]:
        stats = await each(keys, self._stat, limit=self._config.max_connections)
        if keys and not any(stats):
            await self._require_bucket()
        return stats

    async def delete(self, keys: Sequence[str]) -> None:
        await self._deleter.delete(keys)

    async def copy_from(
        self,
        source: MediaBackend,
        source_key: str,
        key: str,
        *,
        progress: CopyProgress | None = None,
    ) -> ObjectStat:
        check_key(key)
        found = await found_in(source, source_key)
        if not (isinstance(source, S3Media) and _service(source._config) == _service(self._config)):
            return await copy_through(source, source_key, found, self, key, progress)
        if (source._config.bucket, source_key) == (self._config.bucket, key):
            return found  # S3 refuses to copy an object onto itself
        try:
            wanted = CopySource(source._config.bucket, source_key, found)
            await self._copier.copy(wanted, key, progress)
        except S3Failure as error:
            # These credentials cannot read there, but those of the source can.
            if error.s3_code not in FORBIDDEN or source is self:
                raise
            return await copy_through(source, source_key, found, self, key, progress)
        return await self._kept(key, found.size)

    async def store(
        self,
        key: str,
        blocks: AsyncGenerator[bytes, None],
        *,
        size: int | None,
        content_type: str | None,
        progress: CopyProgress | None = None,
    ) -> ObjectStat:
        async with aclosing(blocks):
            stored = await self._uploader.upload(
                check_key(key), blocks, size=size, content_type=content_type, progress=progress
            )
        return await self._kept(key, stored)

    async def _kept(self, key: str, size: int) -> ObjectStat:
        """What is stored now. Raises Unavailable unless that has ``size`` bytes."""
        found = await self._stat(key)
        if found is None or found.size != size:
            raise Unavailable(f"storage backend {self._backend.label} did not keep the copy")
        return found

    async def read(self, key: str, *, etag: str | None = None) -> AsyncIterator[bytes]:
        found = await self._stat(key)
        if found is None:
            raise NotFound("there is no such media object")
        if etag not in (None, found.etag):
            raise Conflict("the media object has changed meanwhile")
        blocks = read_object(self._client, self._config.bucket, key, found)
        async with aclosing(blocks):
            async for block in blocks:
                yield block

    async def list_objects(self, prefix: str = "") -> AsyncIterator[ListedObject]:
        parameters: dict[str, Any] = {
            "Bucket": self._config.bucket,
            "Prefix": prefix,
            "MaxKeys": _LISTED_AT_ONCE,
        }
        while True:
            page = await self._client.call("list_objects_v2", **parameters)
            for found in page.get("Contents", []):
                yield ListedObject(found["Key"], found["Size"], found["LastModified"])
            if not page.get("IsTruncated"):
                return
            parameters["ContinuationToken"] = page["NextContinuationToken"]

    async def check(self) -> None:
        """Write, read and remove a small object. Raises Unavailable."""
        key = f"{self._config.key_prefix}.tams-gql-probe/{uuid.uuid4()}"
        target = {"Bucket": self._config.bucket, "Key": key}
        written: dict[str, Any] | None = None
        try:
            written = await self._client.call("put_object", **target, Body=b"probe")
            found = await self._stat(key)
            with suppress(NotFound):
                await self._client.call("delete_object", **target)
        except BaseException as error:
            # Whoever ends the check does not know either whether the store has taken the object.
            if written is not None or isinstance(error, asyncio.CancelledError):
                await asyncio.shield(asyncio.create_task(self._remove_probe(target)))
            raise
        if found is None:
            raise Unavailable(
                f"storage backend {self._backend.label} does not keep what is written"
            )
        self._notice_skew(written)

    async def _remove_probe(self, target: dict[str, Any]) -> None:
        """One more attempt, which holds up nobody: the store may be down, the server ending."""
        with suppress(TamsError, TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._client.call("delete_object", **target)

    def _authorised(
        self, authorise: UrlAuthoriser, urls: list[str], method: ReadMethod, expires_at: int
    ) -> list[str]:
        try:
            signed = list(authorise(urls, method=method, expires_at=expires_at))
        except Exception as error:
            # An operator's function, whose errors may hold secrets; it spoils only these URLs.
            name = type(error).__name__
            logger.error("the URL signer of %s failed (%s)", self._backend.label, name)
            raise Unavailable(f"its URL signer failed ({name})") from None
        if len(signed) != len(urls) or not all(isinstance(url, str) for url in signed):
            raise Unavailable("its URL signer did not give one URL for each")
        return signed

    def _terms(self, method: Method, expires_in: int) -> Terms:
        life = min(check_expires_in(expires_in), self._config.url_lifetime)
        # S3 counts from the whole second before now.
        return Terms(method, int(self._clock()), min(life + 1, MAX_EXPIRES_IN))

    async def _stat(self, key: str) -> ObjectStat | None:
        check_key(key)
        try:
            found = await self._client.call(
                "head_object", Bucket=self._config.bucket, Key=key, ChecksumMode="ENABLED"
            )
        except NotFound:
            return None
        return ObjectStat(
            size=found["ContentLength"],
            content_type=found.get("ContentType"),
            etag=found["ETag"].strip('"'),
            modified=found["LastModified"],
            checksums=_checksums(found),
        )

    async def _require_bucket(self) -> None:
        """Raise Unavailable without the bucket: its objects are not missing, it is."""
        try:
            await self._client.call("head_bucket", Bucket=self._config.bucket)
        except NotFound:
            raise Unavailable(f"storage backend {self._backend.label} has no such bucket") from None

    def _notice_skew(self, answer: dict[str, Any]) -> None:
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date is None:
            return
        skew = parsedate_to_datetime(date).timestamp() - self._clock()
        if abs(skew) > _NOTICED_SKEW_SECONDS:
            logger.warning(
                "the clock of storage backend %s differs by %d s: URLs live shorter or longer",
                self._backend.label,
                skew,
            )


def _service(config: S3BackendConfig) -> tuple[str | None, str | None]:
    """What two backends share if one can copy from the other. AWS copies between regions."""
    return (config.endpoint, None if config.endpoint is None else config.region)


def _checksums(found: dict[str, Any]) -> dict[str, str]:
    # The checksum of a composite object is one of its parts' checksums, not of its bytes.
    if found.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
        return {}
    given = {name.lower(): found.get(f"Checksum{name}") for name in _CHECKSUMS}
    return {name: value for name, value in given.items() if value and "-" not in value}
