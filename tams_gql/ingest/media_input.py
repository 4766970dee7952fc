"""Opening media with FFmpeg, and its errors as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from tams_gql.ingest.errors import UnusableMedia

MediaStream = VideoStream | AudioStream

# FFmpeg reads any text as the screen of a terminal, and any list of names as media.
_NOT_MEDIA = frozenset({"tty", "concat", "hls", "ffmetadata"})


@contextmanager
def media_errors(source: str) -> Iterator[None]:
    """Raise FFmpeg's errors and those of the file system as ``UnusableMedia`` of ``source``."""
    try:
        yield
    except av.FFmpegError as error:
        raise UnusableMedia(source, error.strerror or str(error)) from error
    except OSError as error:
        raise UnusableMedia(source, error.strerror or str(error)) from error


def open_media(source: str, content: Path | IO[bytes]) -> InputContainer:
    """Open ``content`` for demuxing; ``source`` names it in errors.

    Raises ``UnusableMedia`` when it is missing, unreadable, no media, or a truncated file whose
    index points past its end.
    """
    # FFmpeg would take what stands before a colon in "Part 1: Dawn.mp4" for a protocol.
    opened = content.absolute() if isinstance(content, Path) else content
    with media_errors(source):
        # "file" alone: a crafted file must not make FFmpeg open network addresses.
        container = av.open(opened, mode="r", options={"protocol_whitelist": "file"})
    try:
        if container.format.name in _NOT_MEDIA:
            raise UnusableMedia(source, "is not a media file")
        if isinstance(content, Path):
            _refuse_truncated(source, container, content.stat().st_size)
    except BaseException:
        container.close()
        raise
    return container


def _refuse_truncated(source: str, container: InputContainer, size: int) -> None:
    # FFmpeg ends such a file early without an error, and the rest would be missed in silence.
    if "mp4" not in container.format.name:
        return
    for stream in container.streams:
        end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
        if end > size:
            raise UnusableMedia(
                source, f"is truncated: its index reaches byte {end}, the file ends at {size}"
            )


def media_streams(source: str, container: InputContainer) -> list[MediaStream]:
    """The video and audio streams, video first; cover pictures and other kinds are left out.

    Raises ``UnusableMedia`` when there is none, or one that FFmpeg cannot name.
    """
    chosen: list[MediaStream] = []
    candidates: tuple[MediaStream, ...] = (*container.streams.video, *container.streams.audio)
    for stream in candidates:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise UnusableMedia(source, f"stream {stream.index} has a codec FFmpeg does not know")
        chosen.append(stream)
    if not chosen:
        raise UnusableMedia(source, "has no video and no audio stream")
    return chosen


def left_out(container: InputContainer, chosen: list[MediaStream]) -> list[str]:
    """One line for each stream that is not ingested."""
    kept = {stream.index for stream in chosen}
    return [
        f"stream {stream.index} ({_kind(stream)}) is left out"
        for stream in container.streams
        if stream.index not in kept
    ]


def _kind(stream: Stream) -> str:
    return "cover picture" if stream.type == "video" else stream.type
