"""Media in a local folder, on signed URLs that the program itself serves (``http/media.py``)."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

from anyio.to_thread import run_sync

from tams_gql.media._checksums import Checksums
from tams_gql.media._drafts import check_size
from tams_gql.media._files import ObjectFiles
from tams_gql.media._secret import load_or_create_secret
from tams_gql.media._signature import Grant, UrlSigner
from tams_gql.media._stored import StoredObject
from tams_gql.media.keys import KeyTemplate, check_key
from tams_gql.media.port import (
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
from tams_gql.model.errors import BadInput, Conflict, NotFound, Unavailable

__all__ = ["MEDIA_PATH", "Grant", "LocalMedia", "StoredObject"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Args = TypeVarTuple("Args")

MEDIA_PATH: Final = "/media/"  # between the public URL and the key
DEFAULT_MAX_OBJECT_BYTES: Final = 5 * 1_024**3  # what S3 takes in a single PUT
_BLOCK_BYTES: Final = 256 * 1_024  # one hop to a worker thread writes about this much
_LISTED_AT_ONCE: Final = 200
_UNKNOWN_TYPE: Final = "application/octet-stream"


class LocalMedia:
    """A storage backend in a folder that all API processes of this service can reach.

    Keeps the contract of ``port.MediaBackend``; the other methods are for the HTTP endpoints.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        backend: StorageBackend,
        public_url: str,
        keys: KeyTemplate | None = None,
        max_object_bytes: int = DEFAULT_MAX_OBJECT_BYTES,
        durable: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the folder ``media`` in ``data_dir``, making it if needed. Blocks.

        ``public_url`` is where clients reach this program, without ``/media/``.
        ``durable``: an upload that was confirmed survives a loss of power.
        ``clock`` gives Unix seconds. Raises BadInput if the folder holds a broken secret or the
        backend is not ``presigned``, and OSError if the folder cannot be used.
        """
        if not backend.presigned:
            raise BadInput(f"storage backend {backend.id}: the local folder has signed URLs only")
        folder = data_dir / "media"
        self._backend = backend
        self._keys = keys or KeyTemplate()
        self._clock = clock
        self._max_object_bytes = max_object_bytes
        self._files = ObjectFiles(
            folder / "objects", max_object_bytes=max_object_bytes, durable=durable
        )
        self._signer = UrlSigner(
            load_or_create_secret(folder / "url-signing.secret"),
            storage_id=backend.id,
            base_url=public_url.rstrip("/") + MEDIA_PATH,
        )
        stale = self._files.remove_stale_drafts()
        if stale:
            logger.info("removed %d unfinished uploads of an earlier run", stale)

    def __repr__(self) -> str:
        return f"LocalMedia({self._backend.id})"

    @property
    def backend(self) -> StorageBackend:
        return self._backend

    @property
    def signs_slowly(self) -> bool:
        return False

    def new_key(self, object_id: str, *, flow_id: str, now: datetime) -> str:
        return self._keys.render(object_id, flow_id=flow_id, now=now)

    def sign_get(
        self, keys: Sequence[str], *, expires_in: int, method: ReadMethod = "GET"
    ) -> list[str]:
        return self._signer.urls(method, keys, expires=self._expiry(expires_in))

    def sign_put(self, items: Sequence[PutRequest], *, expires_in: int) -> list[SignedRequest]:
        expires = self._expiry(expires_in)
        expires_at = datetime.fromtimestamp(expires, UTC)
        requests = []
        for key, content_type in items:
            check_content_type(content_type)
            [url] = self._signer.urls("PUT", [key], expires=expires, content_type=content_type)
            headers = (("Content-Type", content_type),)
            requests.append(SignedRequest(url, headers, expires_at))
        return requests

    async def stat(self, keys: Sequence[str]) -> list[ObjectStat | None]:
        # One thread for all of them: a hop costs more than looking at a file.
        return await _in_thread(lambda: [self._files.stat(key) for key in keys])

    async def delete(self, keys: Sequence[str]) -> None:
        await _in_thread(self._delete, keys)

    async def copy_from(
        self,
        source: MediaBackend,
        source_key: str,
        key: str,
        *,
        progress: CopyProgress | None = None,
    ) -> ObjectStat:
        found = await found_in(source, source_key)
        return await copy_through(source, source_key, found, self, key, progress)

    async def store(
        self,
        key: str,
        blocks: AsyncGenerator[bytes, None],
        *,
        size: int | None,
        content_type: str | None,
        progress: CopyProgress | None = None,
    ) -> ObjectStat:
        async with aclosing(_counted(blocks, size, progress)) as counted:
            return await self.write(
                key, counted, content_type=content_type or _UNKNOWN_TYPE, length=size
            )

    async def list_objects(self, prefix: str = "") -> AsyncIterator[ListedObject]:
        walk = self._files.walk(prefix)
        while found := await _in_thread(lambda: list(islice(walk, _LISTED_AT_ONCE))):
            for listed in found:
                yield listed

    async def check(self) -> None:
        await _in_thread(self._files.probe)

    def verify(self, method: str, key: str, query: bytes) -> Grant:
        """What a request for ``key`` with this raw query may do. Raises Forbidden."""
        return self._signer.verify(method, key, query, now=self._clock())

    def seconds_left(self, grant: Grant) -> int:
        """Whole seconds until the grant expires."""
        return max(0, int(grant.expires - self._clock()))

    async def open_object(self, key: str) -> StoredObject:
        """The object under ``key``, opened for reading; close it. Raises NotFound, Unavailable."""
        stored = await _in_thread(self._files.open, key)
        if stored is None:
            raise NotFound("there is no such media object")
        return stored

    async def read(self, key: str, *, etag: str | None = None) -> AsyncIterator[bytes]:
        stored = await self.open_object(key)
        try:
            if etag not in (None, stored.stat.etag):
                raise Conflict("the media object has changed meanwhile")
            done = 0
            while block := await _in_thread(stored.read, done, _BLOCK_BYTES):
                yield block
                done += len(block)
        finally:
            stored.close()

    async def write(
        self,
        key: str,
        blocks: AsyncIterable[bytes],
        *,
        content_type: str,
        length: int | None = None,
        declared_checksums: Mapping[str, bytes] | None = None,
    ) -> ObjectStat:
        """Store the bytes under ``key`` once all of them have arrived.

        Until then, and for ever if anything fails, readers see what was there before.
        ``length`` is how many bytes must come; ``declared_checksums`` are raw digests by algorithm.
        Raises LimitExceeded, BadInput (length, checksum) or Unavailable (the disk), and lets
        through what ``blocks`` raises.
        """
        check_size(length or 0, self._max_object_bytes)
        checksums = Checksums(declared_checksums or {})
        draft = self._files.draft(
            check_key(key), content_type=check_content_type(content_type), checksums=checksums
        )
        try:
            async with aclosing(_gathered(blocks)) as gathered:
                async for block in gathered:
                    await _in_thread(draft.append, block)
            return await _in_thread(draft.publish, length)
        except BaseException:
            # In the thread pool before the first await: a task that is cancelled again while it
            # waits here must not keep the draft from being removed.
            removal = asyncio.get_running_loop().run_in_executor(None, draft.discard)
            await asyncio.shield(removal)
            raise

    def _expiry(self, expires_in: int) -> int:
        return ceil(self._clock() + check_expires_in(expires_in))

    def _delete(self, keys: Sequence[str]) -> None:
        failure: OSError | None = None
        for key in keys:
            try:
                self._files.remove(key)
            except OSError as error:  # the others are still removed
                failure = error
        if failure is not None:
            raise failure


async def _counted(
    blocks: AsyncGenerator[bytes, None], size: int | None, progress: CopyProgress | None
) -> AsyncGenerator[bytes, None]:
    """The same bytes; tell how many of them have been used."""
    done = 0
    async with aclosing(blocks):
        async for block in blocks:
            yield block
            done += len(block)
            if progress is not None:
                progress(done, size)


async def _gathered(blocks: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in blocks large enough to be worth a hop to a worker thread."""
    gathered = bytearray()
    async for block in blocks:
        gathered += block
        if len(gathered) >= _BLOCK_BYTES:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


async def _in_thread(call: Callable[[*Args], T], *args: *Args) -> T:
    """Run a blocking call in a worker thread; what the disk fails with becomes Unavailable."""
    try:
        return await run_sync(call, *args)
    except OSError as error:
        # The log names the path; the client only learns what kind of failure it is.
        logger.error("the media folder failed: %s", error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "is full" if full else "cannot be read or written"
        raise Unavailable(f"the media folder {reason}") from error
