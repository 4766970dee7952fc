"""Replies that are not 200."""

from __future__ import annotations

from xml.sax.saxutils import escape


class RpcError(Exception):
    """An RPC refused with an HTTP status and an S3-style error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self, request_id: str) -> bytes:
        """The XML document of the reply."""
        return (
            f"<Error><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message>"
            f"<RequestId>{escape(request_id)}</RequestId></Error>"
        ).encode()


def bad_request(message: str, code: str = "InvalidArgument") -> RpcError:
    """400: the request itself is wrong."""
    return RpcError(400, code, message)


def not_found(what: str) -> RpcError:
    """404: something named in the request is not there."""
    return RpcError(404, "NoSuchEntity", f"{what} does not exist")


def conflict(message: str, code: str = "TabularConflict") -> RpcError:
    """409: another transaction is in the way, or the state does not allow the request."""
    return RpcError(409, code, message)
