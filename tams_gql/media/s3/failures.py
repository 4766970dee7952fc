"""What S3 calls fail with, in words that hold no secrets.

Messages of servers and libraries are not passed on: they may quote signed strings, key ids and
headers. The code and the HTTP status say enough.
"""

from __future__ import annotations

from typing import Any, Final

from tams_gql.model.bounds import shown
from tams_gql.model.errors import Conflict, NotFound, TamsError, Unavailable

# HEAD answers have no body, so there the status stands for the code.
REFUSED_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
FORBIDDEN: Final = frozenset({"403", "AccessDenied", "Forbidden"})
_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_CHANGED: Final = frozenset({"412", "PreconditionFailed"})


class S3Failure(Unavailable):
    """The object store refused or failed a request. ``s3_code`` is its own name for the reason."""

    def __init__(self, message: str, s3_code: str, status: int) -> None:
        super().__init__(message)
        self.s3_code = s3_code
        self.status = status


def answered(response: dict[str, Any], operation: str, label: str) -> TamsError:
    """The error for a request that was answered with a failure; ``label`` names the backend."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _MISSING:
        return NotFound(f"storage backend {label} does not hold the object")
    if code in _CHANGED:
        return Conflict(f"the object changed in storage backend {label} while it was used")
    reason = _reason(code, operation) or f"failed at {operation}: {shown(code)}, status {status}"
    return S3Failure(f"storage backend {label} {reason}", code, status)


def _reason(code: str, operation: str) -> str | None:
    if code in REFUSED_CREDENTIALS:
        return f"refuses the credentials of this service ({code})"
    if code in FORBIDDEN:
        return f"does not allow {operation} with the credentials of this service"
    if code == "RequestTimeTooSkewed":
        return "says that the clock of this machine is wrong"
    if code == "NoSuchBucket":
        return "has no such bucket"
    return None


def unanswered(error: BaseException, operation: str, label: str) -> Unavailable:
    """The error for a request that got no answer."""
    return Unavailable(
        f"storage backend {label} did not answer {operation} ({type(error).__name__})"
    )
