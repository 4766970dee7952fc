"""A stopping server ends what has no end of its own, at once."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.http.graphql_stream_client import EVENTS, PARTS, Parts
from tests.http.graphql_ws_client import FOLLOW
from tests.processes import Process
from tests.waiting import PATIENCE_SECONDS

GRACE_SECONDS = 90


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    env = {
        "TAMS_PORT": "0",
        "TAMS_DATA_DIR": str(tmp_path / "data"),
        "TAMS_SHUTDOWN_GRACE": str(GRACE_SECONDS),
        "TAMS_MAX_REQUEST_BYTES": "50000",
    }
    process = Process([sys.executable, "-m", "tams_gql", "serve"], env, tmp_path)
    yield process
    process.close()


def test_streams_and_websockets_do_not_delay_the_stop(server: Process) -> None:
    url = server.wait_for(r"serves (http://\S+),")[1]
    with ExitStack() as stack:
        http = stack.enter_context(
            httpx.Client(base_url=url, timeout=PATIENCE_SECONDS, trust_env=False)
        )
        body = {"query": FOLLOW}
        events, parts = (
            stack.enter_context(
                http.stream("POST", "/graphql", json=body, headers={"Accept": accept})
            )
            for accept in (EVENTS, PARTS)
        )
        socket = stack.enter_context(
            connect(
                "ws" + url.removeprefix("http") + "/graphql",
                subprotocols=[Subprotocol("graphql-transport-ws")],
                proxy=None,
                open_timeout=PATIENCE_SECONDS,
            )
        )
        socket.send('{"type": "connection_init"}')
        assert json.loads(socket.recv()) == {"type": "connection_ack"}
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": body}))
        received = events.iter_bytes()
        assert next(received) == b":\n\n"

        code, took = server.stop(signal.SIGTERM, GRACE_SECONDS * 2)

        assert (code, took < GRACE_SECONDS / 3) == (0, True)
        assert b"complete" not in b"".join(received)  # its client is to connect again
        assert Parts(parts).next() == {
            "payload": None,
            "errors": [
                {"message": "The server is stopping", "extensions": {"code": "UNAVAILABLE"}}
            ],
        }
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    assert "Traceback" not in server.output
    assert "ERROR" not in server.output


def test_the_size_of_websocket_messages_is_that_of_requests(server: Process) -> None:
    url = server.wait_for(r"serves (http://\S+),")[1]
    with connect(
        "ws" + url.removeprefix("http") + "/graphql",
        subprotocols=[Subprotocol("graphql-transport-ws")],
        proxy=None,
        open_timeout=PATIENCE_SECONDS,
    ) as socket:
        socket.send('{"type": "ping", "payload": {"x": "%s"}}' % ("x" * 40_000))
        assert len(socket.recv()) > 40_000
        socket.send('{"type": "ping", "payload": {"x": "%s"}}' % ("x" * 60_000))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
