"""Where the TAMS specification lies, for tests that compare the product with it.

The specification is not part of this repository. ``TAMS_SPEC_DIR`` names a checkout of it; without
that, a directory ``shared/tams-spec`` beside the repository or above it is used.
"""

from __future__ import annotations

import os
from pathlib import Path

NO_SPEC = "the TAMS specification is not here: set TAMS_SPEC_DIR to a checkout of it"


def spec_dir() -> Path | None:
    """The directory with ``schemas/`` and ``examples/``, or ``None`` when there is none.

    Raises ``NotADirectoryError`` when ``TAMS_SPEC_DIR`` names something else, so that a typing
    mistake does not turn tests into skipped ones.
    """
    if named := os.environ.get("TAMS_SPEC_DIR"):
        directory = Path(named)
        if not _is_spec(directory):
            raise NotADirectoryError(f"TAMS_SPEC_DIR={named} has no schemas/ and examples/")
        return directory
    root = Path(__file__).resolve().parent.parent
    found = (above / "shared" / "tams-spec" for above in root.parents)
    return next(filter(_is_spec, found), None)


def _is_spec(directory: Path) -> bool:
    return (directory / "schemas").is_dir() and (directory / "examples").is_dir()
