"""Ids that come out the same on every run, so that a second run finds what the first one made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from tams_gql.ingest.codecs import Container
from tams_gql.ingest.errors import UnusableMedia

NAMESPACE: Final = UUID("6b1f9a5c-1c0e-5d0b-9b57-0f3c8a2de771")
"""Namespace of ids when the user names none; a constant of this program."""

_SAMPLE_BYTES: Final = 1 << 20


def file_identity(path: Path) -> str:
    """An identity by content: size, first and last MiB. Copies and renamed files are the same."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            digest.update(size.to_bytes(8, "big"))
            for offset in (0, max(0, size - _SAMPLE_BYTES)):
                file.seek(offset)
                digest.update(file.read(_SAMPLE_BYTES))
    except OSError as error:
        raise UnusableMedia(str(path), error.strerror or str(error)) from error
    return f"file:{digest.hexdigest()}"


@dataclass(frozen=True, slots=True)
class IdMaker:
    """Flow and source ids of one input on one timeline.

    The timeline's origin is part of both: moved in time, it is other content (application note
    0008). Container and segment duration make other flows of the same sources.
    """

    namespace: UUID
    identity: str
    start_ns: int

    def source_id(self, part: str) -> str:
        """Id of the source of ``part``: a stream's name, or ``multi``."""
        return str(uuid5(self.namespace, f"{self.identity}|{self.start_ns}|source|{part}"))

    def flow_id(self, part: str, container: Container | None, target: Fraction | None) -> str:
        """Id of the flow of ``part``; None where the input itself decides."""
        name = f"{self.identity}|{self.start_ns}|flow|{part}|{container}|{target}"
        return str(uuid5(self.namespace, name))
