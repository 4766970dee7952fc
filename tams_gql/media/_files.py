"""The folder of the local backend: which file holds which key, and how a file gets there."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final

from tams_gql.media._checksums import Checksums
from tams_gql.media._drafts import Draft
from tams_gql.media._stored import DamagedObject, StoredObject, open_stored
from tams_gql.media.keys import check_key
from tams_gql.media.port import ListedObject, ObjectStat
from tams_gql.model.errors import Unavailable

logger = logging.getLogger(__name__)

STALE_DRAFT_SECONDS: Final = 24 * 60 * 60
_SUFFIX: Final = ".object"
_DRAFTS: Final = ".drafts"
_MAX_NAME_CHARS: Final = 200  # file systems allow 255 bytes
_ESCAPED = re.compile(rb"[^0-9a-z_-]")
# A key that is its own path: nothing to escape in it, and none of its names too long.
_PLAIN_KEY = re.compile(rf"[0-9a-z_/-]{{1,{_MAX_NAME_CHARS}}}")


def file_name(segment: str) -> str:
    """A file-system name for one segment of a key: different segments have different names.

    Lower-case ASCII only, because some file systems fold case or normalise Unicode. No dots, so
    that neither ``..`` nor a folder that looks like an object's file can come out.
    """
    name = _ESCAPED.sub(lambda found: b"%%%02x" % found[0][0], segment.encode()).decode()
    if len(name) <= _MAX_NAME_CHARS:
        return name
    return f"~{hashlib.sha256(segment.encode()).hexdigest()}"


class ObjectFiles:
    """Objects as files below one folder. Every method blocks; call them in worker threads."""

    def __init__(self, root: Path, *, max_object_bytes: int, durable: bool) -> None:
        """``durable``: an upload that was confirmed survives a loss of power."""
        (root / _DRAFTS).mkdir(parents=True, exist_ok=True)
        # The folder itself may be reached by a link; below it, none is followed.
        self._root = root.resolve()
        self._root_length = len(str(self._root))
        self._max_object_bytes = max_object_bytes
        self._durable = durable

    def open(self, key: str) -> StoredObject | None:
        """The object under ``key``, or None. A damaged file is logged and counts as none."""
        path = self._path(key)
        try:
            if self._leads_through_a_link(path):
                raise DamagedObject("a folder on the way to it is a symbolic link")
            return open_stored(path)
        except FileNotFoundError:
            return None
        except (DamagedObject, NotADirectoryError) as error:
            logger.error("the file of media object %r is damaged: %s", key, error)
            return None

    def stat(self, key: str) -> ObjectStat | None:
        """What is stored under ``key``, or None."""
        stored = self.open(key)
        if stored is None:
            return None
        stored.close()
        return stored.stat

    def remove(self, key: str) -> None:
        """Remove the object; none there is no error. Readers that have it open can finish.

        Its folder stays: there is about one an hour, and removing it would race with uploads.
        """
        path = self._path(key)
        if not self._leads_through_a_link(path):
            with suppress(FileNotFoundError, NotADirectoryError):
                Path(path).unlink()

    def walk(self, prefix: str) -> Iterator[ListedObject]:
        """Every sound object whose key begins with ``prefix``; what comes or goes may be missed."""
        for folder, folders, names in os.walk(self._root):
            folders[:] = [name for name in folders if name != _DRAFTS]
            for name in names:
                found = self._listed(f"{folder}/{name}") if name.endswith(_SUFFIX) else None
                if found is not None and found.key.startswith(prefix):
                    yield found

    def _listed(self, path: str) -> ListedObject | None:
        try:
            stored = open_stored(path)
        except FileNotFoundError:
            return None
        except DamagedObject as error:
            logger.error("the media file %r is damaged: %s", path, error)
            return None
        stored.close()
        key = stored.description.key
        # Somebody may have copied the file to where its key does not lead.
        if self._path(key) != path:
            return None
        return ListedObject(key, stored.stat.size, stored.stat.modified)

    def draft(self, key: str, *, content_type: str, checksums: Checksums) -> Draft:
        """A new upload for ``key``, in the objects' own file system so that a rename ends it."""
        path = self._root / _DRAFTS / secrets.token_hex(16)
        return Draft(
            path,
            key=key,
            content_type=content_type,
            checksums=checksums,
            max_bytes=self._max_object_bytes,
            publish=partial(self._publish, path, Path(self._path(key))),
        )

    def remove_stale_drafts(self) -> int:
        """Remove what uploads left behind when their process died; return how many there were."""
        oldest = time.time() - STALE_DRAFT_SECONDS
        removed = 0
        for draft in (self._root / _DRAFTS).iterdir():
            try:
                if draft.lstat().st_mtime < oldest:
                    draft.unlink()
                    removed += 1
            except FileNotFoundError:  # another process is at it too
                continue
        return removed

    def probe(self) -> None:
        """Prove that a file can be made, written and removed. Raises OSError if not."""
        path = self._root / _DRAFTS / secrets.token_hex(16)
        try:
            path.write_bytes(b"probe")
        finally:
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> str:
        # Text and no Path: a registration looks at thousands of these.
        check_key(key)
        if _PLAIN_KEY.fullmatch(key):
            return f"{self._root}/{key}{_SUFFIX}"
        return f"{self._root}/{'/'.join(map(file_name, key.split('/')))}{_SUFFIX}"

    def _leads_through_a_link(self, path: str) -> bool:
        """Whether a folder between the root and the file is a symbolic link."""
        end = path.rfind("/")
        while end > self._root_length:
            try:
                if stat.S_ISLNK(os.lstat(path[:end]).st_mode):
                    return True
            except (FileNotFoundError, NotADirectoryError):
                pass  # no such folder; what is above it still counts
            end = path.rfind("/", 0, end)
        return False

    def _publish(self, draft: Path, path: Path, file: FileIO) -> None:
        """Rename a complete draft into its place."""
        if self._durable:
            os.fsync(file.fileno())
        if self._leads_through_a_link(str(path)):
            raise Unavailable("the media folder holds a symbolic link where a folder belongs")
        self._make_folder(path.parent)
        draft.replace(path)
        self._sync_folder(path.parent)

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        self._sync_folder(folder.parent)

    def _sync_folder(self, folder: Path) -> None:
        """Make the names in a folder survive a loss of power."""
        if not self._durable:
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
