"""What can become of one call to an endpoint, before it is known what that means."""

from __future__ import annotations


class NotSent(Exception):
    """The endpoint could not be reached, so the request was not carried out."""


class Lost(Exception):
    """The connection broke or nothing came in time: the request may have been carried out."""


class TooLarge(Exception):
    """The answer exceeds what this process is willing to hold."""


class Refused(Exception):
    """The cluster answered with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code} {message}".strip())
        self.status = status
        self.code = code

    @property
    def busy(self) -> bool:
        """Whether the cluster asks to come back later; it has not begun the request."""
        return self.status == 503 and self.code == "SlowDown"

    @property
    def unsettled(self) -> bool:
        """Whether the request may have been carried out all the same."""
        return self.status in (408, 500, 502, 503, 504) and not self.busy
