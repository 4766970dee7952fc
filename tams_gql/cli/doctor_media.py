"""Can the local media folder be used? Looks, and writes one file that it removes again."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tams_gql.store.findings import Finding, Status

_SECRET = "url-signing.secret"  # noqa: S105 (a file name)
_SECRET_BYTES = 32
_SCARCE_BYTES = 2**30


def examine_media(folder: Path) -> Iterator[Finding]:
    """Check the folder and the secret that signs its URLs, one finding at a time."""
    yield _writable(folder)
    yield _secret(folder / _SECRET)


def _writable(folder: Path) -> Finding:
    try:
        place = next(p for p in (folder, *folder.parents) if p.exists())
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as written:
            written.write(b"written to see whether it can be")
            written.flush()
            os.fsync(written.fileno())
        free = shutil.disk_usage(place).free
    except OSError as refused:
        text = f"{folder} cannot be written: {refused.strerror}"
        return Finding("media folder", Status.FAILED, text, "uploads will fail")
    facts = {"folder": str(folder), "exists": place == folder, "free_bytes": free}
    text = f"{folder} is writable" if place == folder else f"{folder} can be made"
    text += f", {free / 2**30:,.1f} GiB free"
    if free < _SCARCE_BYTES:
        return Finding("media folder", Status.WARNING, text, "uploads may soon fail", facts)
    return Finding("media folder", Status.OK, text, "", facts)


def _secret(path: Path) -> Finding:
    try:
        found = path.stat()
    except FileNotFoundError:
        return Finding("media secret", Status.OK, "none yet", "the server makes it at start")
    except OSError as refused:
        return Finding("media secret", Status.FAILED, f"{path}: {refused.strerror}")
    if found.st_size != _SECRET_BYTES or not os.access(path, os.R_OK):
        text = f"{path} cannot be read, or does not hold a URL signing secret"
        return Finding("media secret", Status.FAILED, text, "remove it to get a new one")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        text = f"{path} can be used by other users of this machine"
        return Finding("media secret", Status.WARNING, text, f"chmod 600 {path}")
    return Finding("media secret", Status.OK, "there, for this user only")
