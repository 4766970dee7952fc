"""The file of one stored object: its bytes, then a footer that says what they are.

One file, because data and description that are written together can never disagree: not after a
crash, and not for a reader who opens the file while another upload replaces it. The data comes
first, so that a player that opens the file itself still finds what it expects.

Layout: data, description (JSON), length of the description (4 bytes, big-endian), mark (8 bytes).
A file without a sound footer was not written here, or not completely, and holds no object.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
import struct
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Final

from tams_gql.media.port import ObjectStat

_MARK: Final = b"TAMSobj1"
_END: Final = struct.Struct(">I8s")
# Enough for the longest key and content type, written with the escapes of JSON.
MAX_FOOTER_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class Description:
    """What the footer says. ``size`` counts the data alone; the key tells an operator the object's
    name where the file's own name had to be escaped."""

    key: str
    content_type: str
    size: int
    sha256: str

    def footer(self) -> bytes:
        text = json.dumps(asdict(self), separators=(",", ":")).encode()
        return text + _END.pack(len(text), _MARK)

    def stat(self, status: os.stat_result) -> ObjectStat:
        return ObjectStat(
            size=self.size,
            content_type=self.content_type,
            etag=self.sha256,
            modified=datetime.fromtimestamp(status.st_mtime, UTC),
            checksums={"sha256": base64.b64encode(bytes.fromhex(self.sha256)).decode()},
        )


class DamagedObject(Exception):
    """The file exists but holds no complete object."""


class StoredObject:
    """An object opened for reading: one version of it, whatever is uploaded meanwhile."""

    def __init__(self, descriptor: int, description: Description) -> None:
        """Takes over the open file ``descriptor``."""
        self._descriptor = descriptor
        self._lock = Lock()
        self._closing = False
        self.description = description
        self.stat = description.stat(os.fstat(descriptor))

    def read(self, start: int, length: int) -> bytes:
        """Up to ``length`` bytes of the data from ``start`` on; empty at its end. Blocks."""
        length = min(length, self.description.size - start)
        with self._lock:
            if self._closing or length <= 0:
                return b""
            data = os.pread(self._descriptor, length, start)
        if self._closing:
            self.close()
        return data

    def close(self) -> None:
        """Give the file back. Never waits: a read that a cancelled request left running in its
        thread keeps the file open, and closes it when it ends."""
        self._closing = True
        if self._lock.acquire(blocking=False):
            try:
                if self._descriptor >= 0:
                    os.close(self._descriptor)
                    self._descriptor = -1
            finally:
                self._lock.release()

    def __del__(self) -> None:
        # A request that was cancelled while a thread opened the file never saw this object.
        self.close()


def open_stored(path: str) -> StoredObject:
    """Open the object in ``path``. Blocks.

    Raises FileNotFoundError if there is none, and DamagedObject if what is there is not a whole
    object, or is a symbolic link: nothing here makes one.
    """
    try:
        # O_NONBLOCK: opening a pipe that somebody put there must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DamagedObject("a symbolic link") from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DamagedObject("not a regular file")
        description = _description(descriptor, status.st_size)
    except BaseException:
        os.close(descriptor)
        raise
    return StoredObject(descriptor, description)


def _description(descriptor: int, file_size: int) -> Description:
    tail_start = max(0, file_size - MAX_FOOTER_BYTES)
    tail = os.pread(descriptor, MAX_FOOTER_BYTES, tail_start)
    if len(tail) < _END.size:
        raise DamagedObject("no footer")
    length, mark = _END.unpack(tail[-_END.size :])
    if mark != _MARK or length > len(tail) - _END.size:
        raise DamagedObject("no footer")
    try:
        description = Description(**json.loads(tail[-_END.size - length : -_END.size]))
        bytes.fromhex(description.sha256)
    except (ValueError, TypeError):
        raise DamagedObject("unreadable footer") from None
    if description.size != file_size - length - _END.size:
        raise DamagedObject("the data is not as long as the footer says")
    return description
