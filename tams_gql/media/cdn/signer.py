"""What the signers that are built in have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

from tams_gql.model.errors import BadInput

Scope = Literal["object", "base"]
"""What a signature opens: one object, or everything below the base URL."""

_MAX_FILE_BYTES: Final = 64 * 1024


class CdnSigner(Protocol):
    """Signs URLs below one base URL. Its signatures are good for GET and HEAD alike."""

    @property
    def slow(self) -> bool:
        """Whether a page of URLs takes so long that it belongs into a worker thread."""
        ...

    def sign(self, urls: Sequence[str], expires_at: int) -> list[str]:
        """The same URLs in order, good at least until ``expires_at`` (Unix seconds).

        May be called from any thread.
        """
        ...


def content_of(path: Path) -> bytes:
    """A file with a secret. Raises BadInput, which names the file and nothing in it."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({type(error).__name__})") from None
    if not content.strip() or len(content) > _MAX_FILE_BYTES:
        raise BadInput(f"{path} holds no key")
    return content
