"""The middleware stack over a real socket, and over raw ASGI where a client cannot go."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Scope
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tams_gql.http import middleware
from tams_gql.http.middleware import BodyLimit, http_middleware
from tams_gql.logs import FIELDS, request_id
from tests.waiting import PATIENCE_SECONDS, until

Serve = Callable[[Starlette], Awaitable[int]]

LIMIT = 1000
TOO_LARGE = {
    "errors": [
        {
            "message": f"The request body is larger than {LIMIT} bytes",
            "extensions": {"code": "LIMIT_EXCEEDED"},
        }
    ]
}
INTERNAL = {"errors": [{"message": "Internal server error", "extensions": {"code": "INTERNAL"}}]}


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"id": request_id.get(), "size": len(await request.body())})


async def _swallow(request: Request) -> PlainTextResponse:
    """Treat a broken body as bad input, as a GraphQL view does."""
    try:
        await request.body()
    except Exception:
        return PlainTextResponse("unreadable", status_code=400)
    return PlainTextResponse("read")


async def _early(request: Request) -> StreamingResponse:
    """Answer before the whole body is there."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"begun"
        async for chunk in request.stream():
            yield b"%d" % len(chunk)

    return StreamingResponse(parts())


async def _defect(request: Request) -> Response:
    raise RuntimeError("password=hunter2 in the message")


async def _refuse(request: Request) -> Response:
    raise HTTPException(404, "no such flow")


async def _late_defect(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"begun"
        raise RuntimeError("too late for a status")

    return StreamingResponse(parts())


async def _slow(request: Request) -> JSONResponse:
    await asyncio.sleep(0.05)
    return JSONResponse({}, headers={"Server-Timing": "store;dur=1.0"})


async def _socket(socket: WebSocket) -> None:
    if "refuse" in socket.query_params:
        await socket.close()
        return
    await socket.accept()
    await socket.send_text(request_id.get() or "")
    if await socket.receive_text() == "fail":
        raise RuntimeError("a defect in a subscription")
    await socket.close()


ROUTES = [
    Route("/echo", _echo, methods=["POST", "GET"]),
    Route("/swallow", _swallow, methods=["POST"]),
    Route("/early", _early, methods=["POST"]),
    Route("/media/objects/{key}", _echo, methods=["PUT"]),
    Route("/mediators", _echo, methods=["PUT"]),
    Route("/defect", _defect),
    Route("/refuse", _refuse),
    Route("/late", _late_defect),
    Route("/slow", _slow),
    Route("/livez", _slow),
    Route("/metrics", _slow),
    WebSocketRoute("/socket", _socket),
]


def _app(cors_origins: tuple[str, ...] = ()) -> Starlette:
    stack = http_middleware(
        max_request_bytes=LIMIT, unlimited=["/media/"], cors_origins=cors_origins
    )
    return Starlette(routes=ROUTES, middleware=stack)


def _http(base_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=base_url, timeout=PATIENCE_SECONDS, trust_env=False)


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    base = f"http://127.0.0.1:{await serve(_app())}"
    async with _http(base) as http:
        yield http


@pytest.fixture
def access_log(
    caplog: pytest.LogCaptureFixture,
) -> Callable[[], list[tuple[str, str, dict[str, Any]]]]:
    """Return what was logged about requests: level, message, fields without the time."""
    caplog.set_level(logging.DEBUG, "tams_gql.access")

    def lines() -> list[tuple[str, str, dict[str, Any]]]:
        found = []
        for record in caplog.records:
            if record.name == "tams_gql.access":
                fields = dict(getattr(record, FIELDS))
                assert f"{fields.pop('ms')} ms" in record.getMessage()
                found.append((record.levelname, record.getMessage(), fields))
        return found

    return lines


async def _chunks(count: int, size: int = 400) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


@pytest.mark.parametrize("header", ["X-Request-ID", "X-Correlation-ID", "x-correlation-id"])
async def test_the_clients_request_id_is_kept_and_echoed(
    client: httpx.AsyncClient, header: str
) -> None:
    answer = await client.post("/echo", headers={header: "edit-42/take.7"})
    assert answer.json()["id"] == "edit-42/take.7"
    assert answer.headers.get_list("x-correlation-id") == ["edit-42/take.7"]


@pytest.mark.parametrize("asked", ["", "two words", "x" * 129, "é", "<script>", "a;b"])
async def test_an_id_that_is_no_plain_token_is_replaced(
    client: httpx.AsyncClient, asked: str
) -> None:
    answer = await client.post("/echo", headers={b"X-Request-ID": asked.encode("latin-1")})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.json()["id"])
    assert answer.headers["x-correlation-id"] == answer.json()["id"]


async def test_ids_of_requests_at_the_same_time_do_not_mix(client: httpx.AsyncClient) -> None:
    names = [f"request-{number}" for number in range(30)]
    answers = await asyncio.gather(
        *(client.post("/echo", headers={"X-Request-ID": name}) for name in names)
    )
    assert [answer.json()["id"] for answer in answers] == names
    assert request_id.get() is None


async def test_server_timing_counts_milliseconds_and_keeps_what_the_app_says(
    client: httpx.AsyncClient,
) -> None:
    began = time.perf_counter()
    first, second = (await client.get("/slow")).headers.get_list("server-timing")
    whole_ms = (time.perf_counter() - began) * 1000
    assert first == "store;dur=1.0"
    assert 50 <= float(second.removeprefix("total;dur=")) <= whole_ms + 0.1


async def test_requests_are_logged_without_their_query_string(
    client: httpx.AsyncClient, access_log: Callable[[], list[tuple[str, str, dict[str, Any]]]]
) -> None:
    await client.get("/slow?signature=s3cret")
    await client.get("/nowhere%0Aat%20all?token=s3cret")
    await client.get("/livez")
    await client.get("/metrics")
    (slow, nowhere, *polled) = access_log()
    assert slow[2] == {"method": "GET", "path": "/slow", "status": 200}
    assert slow[1].startswith("GET /slow 200 ")
    assert nowhere[2] == {"method": "GET", "path": "/nowhere%0Aat%20all", "status": 404}
    assert (slow[0], nowhere[0]) == ("INFO", "INFO")
    assert [level for level, _, _ in polled] == ["DEBUG", "DEBUG"]
    assert "s3cret" not in str(access_log())


async def test_a_client_that_goes_away_is_no_defect(
    serve: Serve,
    access_log: Callable[[], list[tuple[str, str, dict[str, Any]]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = await serve(_app())
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /echo HTTP/1.1\r\nHost: tests\r\nContent-Length: 900\r\n\r\nhalf")
    await writer.drain()
    await asyncio.sleep(0.1)  # as a rule the server is reading by then; it may also come later
    writer.close()
    await writer.wait_closed()
    await until(lambda: bool(access_log()))
    assert [line[2] for line in access_log()] == [
        {"method": "POST", "path": "/echo", "status": 499}
    ]
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_a_body_at_the_limit_passes_and_one_byte_more_does_not(
    client: httpx.AsyncClient,
) -> None:
    fits = await client.post("/echo", content=b"x" * LIMIT)
    above = await client.post("/echo", content=b"x" * (LIMIT + 1))
    assert (fits.status_code, fits.json()["size"]) == (200, LIMIT)
    assert (above.status_code, above.json()) == (413, TOO_LARGE)
    assert above.headers["connection"] == "close"
    assert "x-correlation-id" in above.headers


@pytest.mark.parametrize("path", ["/echo", "/swallow"])
async def test_a_streamed_body_is_cut_at_the_limit_whatever_the_app_makes_of_it(
    client: httpx.AsyncClient, path: str
) -> None:
    fits = await client.post(path, content=_chunks(2))
    above = await client.post(path, content=_chunks(3))
    assert fits.status_code == 200
    assert (above.status_code, above.json()) == (413, TOO_LARGE)


async def test_a_client_that_is_still_sending_gets_to_read_the_refusal(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "_DRAIN_SECONDS", PATIENCE_SECONDS)
    announced = await client.post("/echo", content=b"x" * (20 * 2**20))
    streamed = await client.post("/echo", content=_chunks(400, 2**16))
    assert [announced.status_code, streamed.status_code] == [413, 413]


async def test_a_client_that_never_ends_is_dropped_after_a_moment(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "_DRAIN_SECONDS", 0.5)
    port = await serve(_app())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /echo HTTP/1.1\r\nHost: tests\r\nContent-Length: 9999\r\n\r\nx")
    began = time.monotonic()
    everything = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    assert everything.startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - began >= 0.5
    writer.close()
    await writer.wait_closed()


async def test_past_the_limit_an_answer_that_has_begun_is_cut_off(
    client: httpx.AsyncClient,
) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post("/early", content=_chunks(4))


async def test_only_paths_below_an_exempt_prefix_are_unlimited(client: httpx.AsyncClient) -> None:
    size = LIMIT * 50
    media = await client.put("/media/objects/clip", content=b"x" * size)
    streamed = await client.put("/media/objects/clip", content=_chunks(50))
    alike = await client.put("/mediators", content=b"x" * size)
    assert (media.status_code, media.json()["size"]) == (200, size)
    assert (streamed.status_code, streamed.json()["size"]) == (200, 20_000)
    assert alike.status_code == 413


@given(
    sizes=st.lists(st.integers(0, 60), max_size=12),
    limit=st.integers(0, 120),
    announce=st.sampled_from(["truth", "nothing", "nonsense"]),
)
async def test_the_limit_holds_for_every_way_to_cut_a_body(
    sizes: list[int], limit: int, announce: str
) -> None:
    messages: Iterator[Message] = iter(
        [
            *({"type": "http.request", "body": b"x" * n, "more_body": True} for n in sizes),
            {"type": "http.request", "body": b"", "more_body": False},
        ]
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    length = {"truth": b"%d" % sum(sizes), "nonsense": b"-1e9"}.get(announce)
    headers = [] if length is None else [(b"content-length", length)]
    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        body = await Request(scope, receive).body()
        await PlainTextResponse(str(len(body)))(scope, receive, send)

    await BodyLimit(app, max_bytes=limit)(scope, receive, send)
    status, body = sent[0]["status"], b"".join(message.get("body", b"") for message in sent)
    assert [message["type"] for message in sent].count("http.response.start") == 1
    assert sent[-1].get("more_body", False) is False
    if sum(sizes) <= limit:
        assert (status, body) == (200, b"%d" % sum(sizes))
    else:
        assert (status, b"LIMIT_EXCEEDED" in body) == (413, True)


async def test_a_defect_is_a_plain_500_and_logged_with_the_request_id(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str | None] = []
    caplog.handler.addFilter(lambda _: seen.append(request_id.get()) or True)  # type: ignore[func-returns-value]
    answer = await client.get("/defect", headers={"X-Request-ID": "edit-42"})
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (answer.status_code, answer.json()) == (500, INTERNAL)
    assert answer.headers["x-correlation-id"] == "edit-42"
    assert [record.getMessage() for record in errors] == ["unexpected error"]
    assert errors[0].exc_info is not None
    assert "edit-42" in seen


async def test_what_starlette_answers_itself_stays_as_it_is(client: httpx.AsyncClient) -> None:
    answer = await client.get("/refuse")
    assert (answer.status_code, answer.text) == (404, "no such flow")


async def test_a_defect_after_the_start_of_the_answer_cuts_it_off(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/late")
    messages = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert messages == [
        "unexpected error",
        "ASGI callable returned without completing response.",
    ]


async def test_a_websocket_carries_the_id_and_is_logged(
    serve: Serve, access_log: Callable[[], list[tuple[str, str, dict[str, Any]]]]
) -> None:
    port = await serve(_app())
    headers = {"X-Request-ID": "live-1"}
    async with connect(
        f"ws://127.0.0.1:{port}/socket?token=s3cret",
        additional_headers=headers,
        proxy=None,
        open_timeout=PATIENCE_SECONDS,
    ) as socket:
        assert socket.response is not None
        assert socket.response.headers["x-correlation-id"] == "live-1"
        assert await socket.recv() == "live-1"
        await socket.send("end")
        await socket.wait_closed()
    refusing = f"ws://127.0.0.1:{port}/socket?refuse=1"
    with pytest.raises(InvalidStatus) as refused:
        await connect(refusing, proxy=None, open_timeout=PATIENCE_SECONDS)
    assert refused.value.response.status_code == 403
    assert [line[2] for line in access_log()] == [
        {"method": "WEBSOCKET", "path": "/socket", "status": 101},
        {"method": "WEBSOCKET", "path": "/socket", "status": 403},
    ]


async def test_a_defect_in_a_websocket_closes_it_with_1011(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    port = await serve(_app())
    url = f"ws://127.0.0.1:{port}/socket"
    async with connect(url, proxy=None, open_timeout=PATIENCE_SECONDS) as socket:
        await socket.recv()
        await socket.send("fail")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    errors = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert errors == ["unexpected error"]


@pytest.mark.parametrize(("path", "status"), [("/slow", 200), ("/defect", 500), ("/echo", 413)])
async def test_pages_of_allowed_origins_may_read_answers_and_errors(
    serve: Serve, path: str, status: int
) -> None:
    port = await serve(_app(("https://ui.example.com",)))
    async with _http(f"http://127.0.0.1:{port}") as http:
        content = b"x" * 2 * LIMIT if status == 413 else None
        method = "POST" if content else "GET"
        ours = await http.request(
            method, path, content=content, headers={"Origin": "https://ui.example.com"}
        )
        other = await http.request(
            method, path, content=content, headers={"Origin": "https://evil.example.com"}
        )
    assert (ours.status_code, other.status_code) == (status, status)
    assert ours.headers["access-control-allow-origin"] == "https://ui.example.com"
    assert "X-Correlation-ID" in ours.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in other.headers


async def test_a_browser_may_ask_first_with_any_header(serve: Serve) -> None:
    port = await serve(_app(("*",)))
    async with _http(f"http://127.0.0.1:{port}") as http:
        asked = {
            "Origin": "https://ui.example.com",
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "content-type, x-request-id",
        }
        answer = await http.options("/slow", headers=asked)
        own = await http.options("/media/objects/clip", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "PUT" in answer.headers["access-control-allow-methods"]
    # Media answers for itself, which the endpoint of this test does not.
    assert not [name for name in own.headers if name.startswith("access-control-")]


async def test_without_origins_no_page_of_another_origin_may_read(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/slow", headers={"Origin": "https://ui.example.com"})
    assert not [name for name in answer.headers if name.startswith("access-control-")]
