"""Start and stop of a real server process."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.cli.stand_in import STUCK_SECONDS

SERVE = [sys.executable, "-m", "tams_gql", "serve"]
LONG = 60
"""Seconds of grace that a stop which waits for its end would take."""

Start = Callable[..., Any]
PortOf = Callable[[Any], int]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_an_idle_server_at_once_with_code_0(
    stand_in: Start, port_of: PortOf, sent: signal.Signals
) -> None:
    server = stand_in(TAMS_SHUTDOWN_GRACE=str(LONG))
    port = port_of(server)
    about = httpx.get(f"http://127.0.0.1:{port}/about", trust_env=False)
    code, took = server.stop(sent, LONG)
    assert about.json() == {"loop": "uvloop", "public_url": f"http://127.0.0.1:{port}"}
    assert "server" not in about.headers
    assert (code, took < LONG / 2) == (0, True)
    assert "\nclosed\n" in server.output
    assert "Traceback" not in server.output
    assert "NO AUTHENTICATION" not in server.output


def test_an_open_websocket_is_closed_with_1012_and_does_not_delay_the_stop(
    stand_in: Start, port_of: PortOf
) -> None:
    server = stand_in(TAMS_SHUTDOWN_GRACE=str(LONG))
    with connect(f"ws://127.0.0.1:{port_of(server)}/subscribe", proxy=None) as client:
        assert client.recv() == "subscribed"
        code, took = server.stop(signal.SIGINT, LONG)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert (code, took < LONG / 2) == (0, True)
    assert "Traceback" not in server.output
    assert "WEBSOCKET /subscribe 101" in server.output


def test_an_answer_without_end_is_cut_off_within_the_grace_period(
    stand_in: Start, port_of: PortOf
) -> None:
    server = stand_in(TAMS_SHUTDOWN_GRACE="2")
    with httpx.stream("GET", f"http://127.0.0.1:{port_of(server)}/endless", trust_env=False) as got:
        chunks = got.iter_raw()
        assert next(chunks) == b"tick\n"
        code, took = server.stop(signal.SIGTERM, LONG)
    # Without the cut there would be no end.
    assert (code, took < LONG / 2) == (0, True)
    assert "Cancel 1 running task(s), timeout graceful shutdown exceeded" in server.output
    assert "Traceback" not in server.output
    assert "\nclosed\n" in server.output


def test_an_application_that_is_told_ends_its_streams_itself(
    stand_in: Start, port_of: PortOf
) -> None:
    server = stand_in("told", TAMS_SHUTDOWN_GRACE=str(LONG))
    with httpx.stream("GET", f"http://127.0.0.1:{port_of(server)}/endless", trust_env=False) as got:
        chunks = got.iter_raw()
        assert next(chunks) == b"tick\n"
        code, took = server.stop(signal.SIGTERM, LONG)
        assert set(chunks) <= {b"tick\n"}  # and then an orderly end, not a broken connection
    assert (code, took < LONG / 2) == (0, True)


def test_a_thread_that_never_returns_cannot_keep_the_process(
    stand_in: Start, port_of: PortOf
) -> None:
    server = stand_in(TAMS_SHUTDOWN_GRACE="2")
    with socket.create_connection(("127.0.0.1", port_of(server))) as client:
        client.sendall(b"GET /stuck HTTP/1.1\r\nHost: tests\r\n\r\n")
        server.wait_for("stuck")
        code, took = server.stop(signal.SIGTERM, LONG)
    assert (code, 2 < took < STUCK_SECONDS / 2) == (1, True)
    assert "a thread did not end in time" in server.output


def test_a_port_in_use_is_one_clear_line_and_code_1(stand_in: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = stand_in(TAMS_PORT=str(port))
        code = server.ended()
    assert code == 1
    lines = server.output.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(
        f"cannot listen on port {port} on 127.0.0.1: it is already in use; "
        "stop the other program or set TAMS_PORT (--port)"
    )


def test_an_unknown_host_is_one_clear_line_and_code_1(stand_in: Start) -> None:
    server = stand_in(TAMS_HOST="no-such-host.invalid")
    assert server.ended() == 1
    assert server.output.count("\n") == 1
    assert "the host 'no-such-host.invalid' is unknown (TAMS_HOST)" in server.output


def test_an_expected_failure_at_start_is_told_without_a_traceback(stand_in: Start) -> None:
    server = stand_in("no_store")
    assert server.ended() == 1
    assert "cannot start: the catalog has schema version 9, this program knows 1" in server.output
    assert "Traceback" not in server.output


def test_listening_beyond_this_machine_warns_that_there_is_no_authentication(
    stand_in: Start,
) -> None:
    server = stand_in(TAMS_HOST="0.0.0.0")
    port = int(server.wait_for(r"serves http://127\.0\.0\.1:(\d+),")[1])
    line = server.wait_for(r"^.* WARNING .*NO AUTHENTICATION.*$")[0]
    assert f"whoever reaches port {port} on 0.0.0.0 can read, change and delete" in line


@pytest.mark.parametrize("debug", [True, False])
def test_debug_mode_reports_what_blocks_the_event_loop(
    stand_in: Start, port_of: PortOf, debug: bool
) -> None:
    server = stand_in(TAMS_DEBUG=str(debug))
    httpx.get(f"http://127.0.0.1:{port_of(server)}/blocking", trust_env=False)
    server.wait_for("GET /blocking 200")
    server.stop(signal.SIGTERM, LONG)
    assert bool(re.search(r"WARNING asyncio .* took 0\.\d+ seconds", server.output)) is debug


def test_wrong_settings_are_listed_together_and_end_with_code_2(start: Start) -> None:
    server = start(
        [*SERVE, "--log-level", "loud"], TAMS_PORT="many", TAMS_PROT="1", TAMS_STORE="vast"
    )
    assert server.ended() == 2
    assert server.output == (
        "tams-gql: 4 settings are wrong:\n"
        "  TAMS_PROT: unknown setting; did you mean TAMS_PORT?\n"
        "  TAMS_STORE='vast': must be given together with TAMS_VAST_ENDPOINTS and "
        "TAMS_VAST_ACCESS_KEY and TAMS_VAST_SECRET_KEY and TAMS_VAST_BUCKET, which are not set\n"
        "  TAMS_PORT='many': must be a whole number from 0 to 65,535\n"
        "  --log-level='loud': must be debug or info or warning or error\n"
    )
