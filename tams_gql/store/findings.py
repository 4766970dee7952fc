"""What the checks of ``tams-gql doctor`` find out about a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """How a check ended. Only ``FAILED`` makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    ``text`` says what was found and ``advice`` what to do about it, both for people and without
    secrets; ``facts`` are the same for machines, as JSON values.
    """

    check: str
    status: Status
    text: str
    advice: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
