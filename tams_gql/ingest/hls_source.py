"""Fetching playlists and segments, from the network or from disk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from tams_gql.ingest.errors import UnusableMedia
from tams_gql.ingest.hls_playlist import (
    ListedSegment,
    MasterPlaylist,
    MediaPlaylist,
    Resource,
    parse_playlist,
)
from tams_gql.ingest.transport import Cancelled, Transport, is_address, shown_url

_BLOCK_BYTES: Final = 1 << 20
_LARGEST_PLAYLIST: Final = 64 << 20


def is_playlist(text: str) -> bool:
    """Whether an input named ``text`` is to be read as HLS: an address, or an HLS playlist."""
    if _is_web(text):
        return True
    path = Path(text)
    if path.suffix.lower() in (".m3u8", ".m3u"):
        return True
    with suppress(OSError), path.open("rb") as file:
        return file.read(10).removeprefix(b"\xef\xbb\xbf").startswith(b"#EXTM3U")
    return False


def _is_web(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def playlist_url(text: str) -> str:
    """The address of an input: itself, or the file URL of a path.

    Raises ``UnusableMedia`` when it is an address that cannot be.
    """
    if _is_web(text):
        if not is_address(text):
            raise UnusableMedia(shown_url(text), "is not an http(s) address")
        return text
    return Path(text).resolve().as_uri()


def identity_of(url: str) -> str:
    """The address without credentials and fragment: what makes two runs the same input."""
    parts = urlsplit(url)
    host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    return "hls:" + urlunsplit((parts.scheme, host, parts.path, parts.query, ""))


@dataclass(frozen=True, slots=True)
class FetchedSegment:
    """A segment on disk: ``path`` holds ``initialisation`` followed by the segment's own bytes."""

    listed: ListedSegment
    path: Path
    initialisation: bytes

    @property
    def size(self) -> int:
        """Bytes of the segment itself."""
        return self.path.stat().st_size - len(self.initialisation)


class HlsSource:
    """Reads what playlists point to. ``source`` names the input in errors.

    A playlist from the network may not point to files on this machine.
    """

    def __init__(self, transport: Transport, source: str, url: str) -> None:
        self._transport = transport
        self._source = source
        self._local = urlsplit(url).scheme == "file"
        self._maps: dict[Resource, bytes] = {}

    def playlist(self, url: str) -> MediaPlaylist | MasterPlaylist:
        """Read and parse the playlist at ``url``."""
        if urlsplit(url).scheme == "file":
            content = self._read_file(Resource(url), _LARGEST_PLAYLIST)
        else:
            # Addresses in a playlist are relative to where redirects have led.
            content, url = self._transport.get_at(url)
        return parse_playlist(content.decode("utf-8", errors="replace"), url)

    def media_playlist(self, url: str) -> MediaPlaylist:
        """Read a playlist that must list segments."""
        found = self.playlist(url)
        if isinstance(found, MasterPlaylist):
            raise UnusableMedia(shown_url(url), "is a master playlist inside a master playlist")
        return found

    def fetch(
        self, segments: Iterable[ListedSegment], folder: Path, ahead: int
    ) -> Iterator[FetchedSegment]:
        """Fetch segments into ``folder``, in order, up to ``ahead`` of them in advance."""
        waiting: deque[Future[FetchedSegment]] = deque()
        with ThreadPoolExecutor(ahead, thread_name_prefix="fetch") as pool:
            try:
                for segment in segments:
                    waiting.append(pool.submit(self._fetch, segment, folder))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            except BaseException:
                if waiting:
                    self._transport.abort()  # else what hangs would hold up the end
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, segment: ListedSegment, folder: Path) -> FetchedSegment:
        if self._transport.stop.is_set():
            raise Cancelled
        initialisation = self._map(segment.initialisation)
        path = folder / f"{segment.key.replace('/', '-')}.segment"
        with path.open("wb") as file:
            file.write(initialisation)
            self._copy(segment.content, file)
        return FetchedSegment(segment, path, initialisation)

    def _map(self, resource: Resource | None) -> bytes:
        if resource is None:
            return b""
        if resource not in self._maps:
            if urlsplit(resource.uri).scheme == "file":
                content = self._read_file(resource, None)
            else:
                content = self._transport.get(resource.uri)
                if resource.byte_range is not None:
                    offset, size = resource.byte_range
                    content = content[offset : offset + size]
            self._maps[resource] = content
        return self._maps[resource]

    def _copy(self, resource: Resource, target: IO[bytes]) -> None:
        if urlsplit(resource.uri).scheme != "file":
            self._transport.download(resource.uri, target, resource.byte_range)
            return
        with self._open_file(resource) as file:
            offset, left = resource.byte_range or (0, None)
            file.seek(offset)
            while left is None or left:
                block = file.read(_BLOCK_BYTES if left is None else min(left, _BLOCK_BYTES))
                if not block:
                    return
                target.write(block)
                left = None if left is None else left - len(block)

    def _open_file(self, resource: Resource) -> IO[bytes]:
        if not self._local:
            raise UnusableMedia(self._source, "a playlist from the network points to a local file")
        path = Path(os.fsdecode(unquote_to_bytes(urlsplit(resource.uri).path)))
        try:
            return path.open("rb")
        except OSError as error:
            raise UnusableMedia(str(path), error.strerror or str(error)) from error

    def _read_file(self, resource: Resource, limit: int | None) -> bytes:
        with self._open_file(resource) as file:
            offset, size = resource.byte_range or (0, limit or -1)
            file.seek(offset)
            return file.read(size)
