"""What can become of one call to an endpoint, before it is known what that means."""

from __future__ import annotations

from collections.abc import Iterable

_LETTERS, _CODE_LETTERS = 200, 64


class NotSent(Exception):
    """The endpoint could not be reached, so the request was not carried out."""


class Lost(Exception):
    """The connection broke or nothing came in time: the request may have been carried out."""


class Silent(Lost):
    """Nothing came in time."""


class TooLarge(Exception):
    """The answer exceeds what this process is willing to hold."""


class Refused(Exception):
    """The cluster answered with an error; of what it says only the beginning is kept."""

    def __init__(
        self, status: int, code: str | None, message: str | None, secrets: Iterable[str] = ()
    ) -> None:
        self.status = status
        self.code = _shown(code, _CODE_LETTERS, secrets)
        super().__init__(f"{status} {self.code} {_shown(message, _LETTERS, secrets)}".strip())

    @property
    def busy(self) -> bool:
        """Whether the cluster asks to come back later; it has not begun the request."""
        return self.status == 503 and self.code == "SlowDown"

    @property
    def ailing(self) -> bool:
        """Whether the endpoint, or what stands before it, cannot serve at the moment."""
        return self.status in (502, 503, 504) and not self.busy

    @property
    def unsettled(self) -> bool:
        """Whether the request may have been carried out all the same."""
        return self.status in (408, 500, 502, 503, 504) and not self.busy


def _shown(text: str | None, most: int, secrets: Iterable[str]) -> str:
    """What may be told of a text from outside: one line, without secrets, not too long."""
    shown = text or ""
    for secret in secrets:
        if secret:
            shown = shown.replace(secret, "...")
    return "".join(letter if letter.isprintable() else " " for letter in shown[:most])
