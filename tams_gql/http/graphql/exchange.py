"""One HTTP request to the endpoint and the answer to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive

from tams_gql.http.graphql.accept import (
    GRAPHQL_JSON,
    LEGACY_JSON,
    Accepted,
    JsonType,
    StreamType,
)
from tams_gql.http.graphql.answers import answer, batch_answer, cacheable_answer
from tams_gql.http.graphql.departure import WhileClientWaits
from tams_gql.http.graphql.engine import Outcome
from tams_gql.http.graphql.limits import TransportLimits
from tams_gql.http.graphql.operations import Operations
from tams_gql.http.graphql.params import Params, params_of_url
from tams_gql.http.graphql.refusal import Malformed, NotRun, Refusal, Refused, error_response
from tams_gql.http.graphql.request import (
    check_content_type,
    check_url_length,
    malformed,
    read_body,
)
from tams_gql.http.graphql.streams import StreamAnswer

ContextT = TypeVar("ContextT")

_Finish = Callable[[Outcome, JsonType], Response]

_STREAMS = "text/event-stream or multipart/mixed;subscriptionSpec=1.0"


class Exchange(Generic[ContextT]):
    """Runs what a request asks for. Its methods raise Refused."""

    def __init__(
        self,
        operations: Operations[ContextT],
        context: ContextT,
        headers: Headers,
        receive: Receive,
        accept: Accepted,
        limits: TransportLimits,
        stopping: asyncio.Event,
    ) -> None:
        self._operations = operations
        self._context = context
        self._headers = headers
        self._receive = receive
        self._accept = accept
        self._limits = limits
        self._stopping = stopping

    async def post(self) -> ASGIApp:
        """The answer to the body; what stands in the URL does not count."""
        check_content_type(self._headers)
        body = await read_body(self._receive, self._limits.batch)
        return await (self._batch(body) if isinstance(body, list) else self._serve(body, answer))

    async def get(self, query_string: bytes, *, head: bool) -> ASGIApp:
        """The answer to the URL, which changes nothing. To HEAD it is never a stream."""
        check_url_length(query_string)
        try:
            params = params_of_url(query_string)
        except Malformed as cause:
            raise malformed(cause) from None
        if head:
            self._accept = self._accept._replace(stream=None)
        return await self._serve(params, self._cacheable, safe=True)

    async def _serve(self, params: Params, finish: _Finish, *, safe: bool = False) -> ASGIApp:
        accept = self._accept
        try:
            operation = self._operations.admit(params)
        except Malformed as cause:
            raise malformed(cause) from None
        except NotRun as not_run:
            return self._not_run(not_run.refusal, finish)
        if safe and operation.kind == "mutation":
            raise Refused(405, "Mutations need the method POST", headers={"Allow": "POST"})
        if accept.stream is not None and (operation.kind == "subscription" or accept.only_streams):
            outcomes = self._operations.outcomes(operation, self._context)
            return self._stream(outcomes, accept.stream)
        if operation.kind == "subscription":
            raise Refused(406, f"A subscription is answered with {_STREAMS}, or over a WebSocket")
        media_type = self._json_type()
        if operation.kind == "mutation":
            return finish(await self._operations.execute(operation, self._context), media_type)
        with WhileClientWaits(self._receive):
            outcome = await self._operations.execute(operation, self._context)
        return finish(outcome, media_type)

    def _cacheable(self, outcome: Outcome, media_type: JsonType) -> Response:
        return cacheable_answer(outcome, media_type, self._headers)

    async def _batch(self, batch: list[Params]) -> ASGIApp:
        # One after the other: a batch must not take more turns than a single operation.
        media_type = self._json_type()
        return batch_answer([await self._of_batch(params) for params in batch], media_type)

    async def _of_batch(self, params: Params) -> Outcome:
        try:
            operation = self._operations.admit(params)
        except Malformed as cause:
            return Refusal(error_response(str(cause), "BAD_USER_INPUT", field=cause.field))
        except NotRun as not_run:
            return not_run.refusal
        if operation.kind == "subscription":
            return Refusal(error_response("A batch cannot have subscriptions", "BAD_USER_INPUT"))
        return await self._operations.execute(operation, self._context)

    def _not_run(self, refusal: Refusal, finish: _Finish) -> ASGIApp:
        stream = self._accept.stream
        if stream is not None and self._accept.only_streams:
            # As an event: browsers show programs nothing of an event stream that was refused.
            return self._stream(_one(refusal), stream)
        return finish(refusal, self._json_type())

    def _stream(
        self, outcomes: AsyncGenerator[Outcome, None], stream_type: StreamType
    ) -> StreamAnswer:
        return StreamAnswer(
            outcomes,
            stream_type,
            stopping=self._stopping,
            heartbeat_seconds=self._limits.heartbeat_seconds,
        )

    def _json_type(self) -> JsonType:
        if self._accept.json is None:
            raise Refused(406, f"An operation is answered with {GRAPHQL_JSON} or {LEGACY_JSON}")
        return self._accept.json


async def _one(outcome: Outcome) -> AsyncGenerator[Outcome, None]:
    yield outcome
