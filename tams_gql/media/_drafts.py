"""Uploads on their way to becoming objects."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from threading import Lock

from tams_gql.media._checksums import Checksums
from tams_gql.media._stored import Description
from tams_gql.media.port import ObjectStat
from tams_gql.model.errors import BadInput, LimitExceeded, Unavailable


def check_size(size: int, max_bytes: int) -> None:
    """Raise LimitExceeded if an object of ``size`` bytes is larger than ``max_bytes``."""
    if size > max_bytes:
        raise LimitExceeded(
            f"the object is larger than max_object_bytes, {max_bytes} bytes; "
            f"{size} or more were sent"
        )


class Draft:
    """One upload. Every method blocks and may be called from any thread.

    Nothing is on disk before the first byte. The lock makes ``discard`` wait for a write that a
    cancelled request left running in its thread, and keeps a late one from starting again.
    """

    def __init__(
        self,
        path: Path,
        *,
        key: str,
        content_type: str,
        checksums: Checksums,
        max_bytes: int,
        publish: Callable[[FileIO], None],
    ) -> None:
        """``path`` must be new; ``publish`` makes the complete file at ``path`` the object."""
        self._path = path
        self._key = key
        self._content_type = content_type
        self._checksums = checksums
        self._max_bytes = max_bytes
        self._publish = publish
        self._size = 0
        self._file: FileIO | None = None
        self._ended = False
        self._lock = Lock()

    def append(self, block: bytes) -> None:
        """Write the next bytes. Raises LimitExceeded if the object becomes too large."""
        with self._lock:
            file = self._opened()
            self._size += len(block)
            check_size(self._size, self._max_bytes)
            self._checksums.update(block)
            _write(file, block)

    def publish(self, length: int | None) -> ObjectStat:
        """Make the bytes written the object, whole and at once; an earlier object is replaced.

        Raises BadInput, and changes nothing, if there are not ``length`` of them (None: any
        number) or if a declared checksum does not match.
        """
        with self._lock:
            file = self._opened()
            if length is not None and self._size != length:
                raise BadInput(
                    f"{self._size} bytes arrived where Content-Length says {length}; "
                    "nothing was stored"
                )
            self._checksums.check()
            description = Description(
                self._key, self._content_type, self._size, self._checksums.sha256()
            )
            _write(file, description.footer())
            self._publish(file)
            self._ended = True
            with file:
                return description.stat(os.fstat(file.fileno()))

    def discard(self) -> None:
        """Leave nothing behind, unless the draft has become the object."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                # Gone already if it was renamed into place.
                self._path.unlink(missing_ok=True)
            self._ended = True

    def _opened(self) -> FileIO:
        if self._ended:
            raise Unavailable("the upload was abandoned")
        if self._file is None:
            self._file = FileIO(self._path, "xb")
        return self._file


def _write(file: FileIO, data: bytes) -> None:
    """Write all of ``data``: one system call may take only a part."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
