"""What all answers of the media endpoints have in common, and how they say no."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from starlette.responses import JSONResponse

from tams_gql.http._upload import UploadStalled
from tams_gql.model.errors import (
    BadInput,
    Forbidden,
    LimitExceeded,
    NotFound,
    TamsError,
    Unavailable,
)

# Any page may use a signed URL: to hold it is to have the right.
SAFE_HEADERS: Final = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": (
        "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Last-Modified"
    ),
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
    # The sandbox gives a page an origin of its own and no script. The rest lets a browser that
    # opens the URL by itself show the picture, or play the sound, in its built-in page.
    "content-security-policy": (
        "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
    ),
    # The URL is a credential: what a file links to must not learn it.
    "referrer-policy": "no-referrer",
}

_STATUS: Final[dict[type[TamsError], int]] = {
    BadInput: 400,
    Forbidden: 403,
    NotFound: 404,
    UploadStalled: 408,
    LimitExceeded: 413,
    Unavailable: 503,
}


def refusal(status: int, code: str, summary: str, **headers: str) -> JSONResponse:
    """An error with the body of schemas/error.json. Underscores in header names become dashes."""
    body = {"type": code, "summary": summary, "time": datetime.now(UTC).isoformat()}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse(
        body, status_code=status, headers={**SAFE_HEADERS, "cache-control": "no-store", **named}
    )


def refusal_of(error: TamsError) -> JSONResponse:
    """The answer to a failure of the media layer."""
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    return refusal(status, error.code, error.message)
