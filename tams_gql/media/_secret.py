"""The secret that signs the URLs of the local backend, shared by all processes of a data folder."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from tams_gql.model.errors import BadInput

logger = logging.getLogger(__name__)

_SECRET_BYTES: Final = 32


def load_or_create_secret(path: Path) -> bytes:
    """The secret kept in ``path``; made at random the first time, in a file of mode 0600.

    Safe with several processes starting at once: all of them return the same secret.
    Raises BadInput if the file does not hold a secret.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        _create(path)
        return _load(path)


def _load(path: Path) -> bytes:
    with path.open("rb") as file:
        secret = file.read(_SECRET_BYTES + 1)
        mode = os.fstat(file.fileno()).st_mode & 0o777
    if len(secret) != _SECRET_BYTES:
        raise BadInput(
            f"{path.name} does not hold a URL signing secret of {_SECRET_BYTES} bytes; "
            "remove it to make a new one (all URLs signed so far stop working)"
        )
    if mode & 0o077:
        logger.warning("%s may be read by other users (mode %03o, not 600)", path.name, mode)
    return secret


def _create(path: Path) -> None:
    """Write the whole file under another name first, so that nobody ever reads half a secret."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link fails if another process was first: its secret then counts.
        Path(path).hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        Path(draft).unlink()
