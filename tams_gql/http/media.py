"""The signed URLs of the local media folder: download, upload, and what browsers ask before them.

The signature in the URL is the whole authorisation. Files come from anybody who may upload, and
are served from the API's own origin: nothing here may let one of them run script there.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from tams_gql.http._download import download
from tams_gql.http._media_answers import SAFE_HEADERS, refusal, refusal_of
from tams_gql.http._upload import (
    UploadBody,
    answer_before_the_end,
    check_declarations,
    declared_checksums,
    declared_length,
)
from tams_gql.media.local import MEDIA_PATH, Grant, LocalMedia
from tams_gql.model.errors import TamsError

_METHODS: Final = "GET, HEAD, PUT, OPTIONS"
_PREFLIGHT_HEADERS: Final = {
    **SAFE_HEADERS,
    "allow": _METHODS,
    "access-control-allow-methods": _METHODS,
    "access-control-allow-headers": (
        "Content-MD5, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, "
        "If-Unmodified-Since, Range, x-amz-checksum-algorithm, x-amz-checksum-crc32, "
        "x-amz-checksum-crc32c, x-amz-checksum-crc64nvme, x-amz-checksum-md5, "
        "x-amz-checksum-sha1, x-amz-checksum-sha256"
    ),
    "access-control-max-age": "7200",
}


def media_routes(backend: LocalMedia, *, upload_idle_seconds: float = 60.0) -> list[BaseRoute]:
    """The routes below ``/media/`` that serve the signed URLs of ``backend``.

    ``upload_idle_seconds``: how long an upload may pause before it is given up.
    """
    endpoint = _MediaEndpoint(backend, upload_idle_seconds)
    return [Route(f"{MEDIA_PATH}{{key:path}}", endpoint, name="media")]


class _MediaEndpoint:
    def __init__(self, backend: LocalMedia, upload_idle_seconds: float) -> None:
        self._backend = backend
        self._upload_idle_seconds = upload_idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        match request.method:
            case "GET" | "HEAD":
                await self._get(request, send)
            case "PUT":
                await self._put(request, send)
            case "OPTIONS":
                # Asked before the URL is used, and the same for all of them: nothing to verify.
                await Response(status_code=204, headers=_PREFLIGHT_HEADERS)(scope, receive, send)
            case method:
                summary = f"{method} is not allowed here; there are: {_METHODS}"
                answer = refusal(405, "METHOD_NOT_ALLOWED", summary, allow=_METHODS)
                await answer(scope, receive, send)

    def _grant(self, request: Request) -> Grant:
        key: str = request.path_params["key"]
        if not request.scope["path"].endswith(MEDIA_PATH + key):
            key = ""  # the route's pattern stops at a line feed, which no key holds
        return self._backend.verify(request.method, key, request.scope["query_string"])

    async def _get(self, request: Request, send: Send) -> None:
        try:
            grant = self._grant(request)
            stored = await self._backend.open_object(grant.key)
        except TamsError as error:
            await refusal_of(error)(request.scope, request.receive, send)
            return
        try:
            answer = download(
                stored,
                grant.key.rpartition("/")[2],
                request.method,
                request.headers,
                max_age=self._backend.seconds_left(grant),
            )
            await answer(request.scope, request.receive, send)
        finally:
            stored.close()

    async def _put(self, request: Request, send: Send) -> None:
        body = UploadBody(request.receive, idle_seconds=self._upload_idle_seconds)
        try:
            answer = await self._store(request, body)
        except TamsError as error:
            answer = refusal_of(error)
        except ClientDisconnect:
            return  # nobody is left to answer, and nothing was stored
        if body.ended:
            await answer(request.scope, request.receive, send)
        else:
            await answer_before_the_end(answer, body, send)

    async def _store(self, request: Request, body: UploadBody) -> Response:
        grant = self._grant(request)
        check_declarations(request.headers, grant.content_type)
        stat = await self._backend.write(
            grant.key,
            body.blocks(),
            content_type=grant.content_type,
            length=declared_length(request.headers),
            declared_checksums=declared_checksums(request.headers),
        )
        return Response(headers={**SAFE_HEADERS, "etag": f'"{stat.etag}"'})
