"""Answers that a cluster should not give: bounded in time and memory, and never misunderstood."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tams_gql.model.errors import LimitExceeded, Unavailable
from tams_gql.store.scan import eq
from tams_gql.store.tables import FLOWS, SEGMENTS, SERVICE
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, physical_of, rows_to_batch
from tams_gql.store.vast.schema import migrate
from tams_gql.store.vast.wire import cluster, query, transport
from tams_gql.store.vast.wire.client import OutcomeUnknown, Tx, VastClient
from tams_gql.store.vast.wire.clock import StoreClock
from tams_gql.store.vast.wire.response import Cut, Unreadable, parse_page
from tams_gql.store.vast.wire.transport import Api
from tests.store.given import examples
from tests.store.vast.clusters import config_of
from tests.vast_emulator import Emulator

_FLOWS, _SEGMENTS, _SERVICE = (physical_of(table) for table in (FLOWS, SEGMENTS, SERVICE))
_PAGE = b"<html><body>Welcome to the proxy</body></html>"


def _insert(tx: Tx) -> object:
    return tx.insert(_FLOWS, rows_to_batch(_FLOWS, ("id",), [("a",), ("b",)]))


@pytest.mark.parametrize("body", [b"", b"x", _PAGE, b"\xff" * 36, b"\0" * 400])
@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("query", lambda tx: tx.select(_FLOWS, ("id",))),
        ("query", lambda tx: tx.count(_FLOWS)),
        ("insert", _insert),
        ("stats", lambda tx: tx.estimate(_FLOWS)),
        ("list_tables", lambda tx: tx.ask(lambda api: api.list_tables("b", "tams", tx.txid))),
        ("columns", lambda tx: tx.ask(lambda api: api.list_columns("column", "b", "t", "x"))),
    ],
)
def test_an_answer_of_somebody_else_is_no_answer(
    emulator: Emulator, client: VastClient, kind: str, call: Callable[[Tx], object], body: bytes
) -> None:
    tx = client.begin()
    fault = emulator.faults.garble(body, kind, times=None)
    try:
        # An empty table of statistics may be told from nothing but its emptiness.
        assert call(tx) == 0
        assert kind == "stats"
    except Unavailable:
        pass
    assert fault.hits >= 1
    emulator.faults.clear()
    tx.rollback()
    assert not emulator.open_transactions()
    assert client.begin().count(_FLOWS) == 0


def test_rows_without_ids_are_not_taken_for_written(emulator: Emulator, client: VastClient) -> None:
    for count in (0, 1, 3):
        sink = pa.BufferOutputStream()
        batch = pa.record_batch([pa.array(range(count), pa.uint64())], names=[ROW_ID])
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        tx = client.begin()
        emulator.faults.garble(sink.getvalue().to_pybytes(), "insert")
        with pytest.raises(Unavailable, match="an answer of the VAST cluster cannot be understood"):
            _insert(tx)
        emulator.faults.clear()
    assert not emulator.open_transactions()
    assert client.begin().count(_FLOWS) == 0


def test_an_answer_to_begin_without_a_transaction(emulator: Emulator, client: VastClient) -> None:
    emulator.faults.garble(_PAGE, "begin")
    with pytest.raises(Unavailable, match="the endpoint is not that of a VAST database"):
        client.begin()


@pytest.mark.parametrize("kind", ["list_schemas", "create_table", "list_tables", "insert"])
def test_a_migration_does_not_believe_everything(emulator: Emulator, kind: str) -> None:
    bucket = emulator.create_bucket("strange")
    with closing(VastClient(config_of(emulator, bucket))) as client:
        fault = emulator.faults.garble(_PAGE, kind)
        if kind == "create_table":
            migrate(client)  # whose answer has nothing to say
        else:
            with pytest.raises(Unavailable, match="cannot be understood"):
                migrate(client)
        assert fault.hits == 1
        emulator.faults.clear()
        migrate(client)
    assert not emulator.open_transactions()
    emulator.drop_bucket(bucket)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("kind", ["query", "insert", "commit"])
def test_an_answer_that_drips_is_not_waited_for(
    emulator: Emulator,
    config: VastConfig,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    chunked: bool,
) -> None:
    emulator.switches.content_length_queries = not chunked
    monkeypatch.setattr(transport, "_WHOLE_ANSWER", 2)
    quick = replace(config, timeout_seconds=0.2)
    with closing(VastClient(config)) as patient, closing(VastClient(quick)) as client:
        begun = patient.begin()
        _insert(begun)
        tx = Tx(client, begun.txid, client.cluster.choose())
        # Each byte comes in time, and all of them would take a quarter of a minute at least.
        emulator.faults.drip(0.05, kind)
        emulator.faults.garble(b"x" * 300, "insert", "commit")
        calls: dict[str, Callable[[], object]] = {
            "query": lambda: tx.select(_FLOWS, ("id",)),
            "insert": lambda: _insert(tx),
            "commit": tx.commit,
        }
        started = time.monotonic()
        with pytest.raises((Unavailable, OutcomeUnknown)):
            calls[kind]()
        assert time.monotonic() - started < 8
        emulator.faults.clear()


def test_of_an_error_little_is_read_and_less_is_told(
    emulator: Emulator, config: VastConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    secretive = replace(config, secret_key="TOP-SECRET")
    with closing(VastClient(secretive)) as client:
        emulator.faults.fail(500, ("begin",), code="C" * 900, message="m" * 900)
        with pytest.raises(Unavailable) as raised:
            client.begin()
        assert str(raised.value) == f"the VAST cluster answered 500 {'C' * 64} {'m' * 200}"
        emulator.faults.fail(500, ("begin",), code="TOP-SECRET", message="AK\r\nFORGED: line")
        with pytest.raises(Unavailable) as raised:
            client.begin()
        assert str(raised.value) == "the VAST cluster answered 500 ... ... FORGED: line"
        # What is longer than any error is not read to its end.
        emulator.faults.fail(500, ("begin",), message="m" * 50_000_000)
        with emulator.counting() as calls, pytest.raises(Unavailable) as raised:
            client.begin()
        assert str(raised.value) == "the VAST cluster answered 500"
        assert calls["begin"] == 1
        client.begin().rollback()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"\xff\xfe\0",
        b'<?xml version="1.0" encoding="shift_jis"?><Error/>',
        b'<?xml version="1.0" encoding="no-such"?><Error/>',
        b"<Error><Code/><Message/></Error>",
        b"<!DOCTYPE e [" + b'<!ENTITY a "aaaaaaaaaa">' + b"".join(
            b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12)
        ) + b"]><Error><Code>&m;</Code></Error>",
    ],
)  # fmt: skip
def test_an_error_may_be_anything(config: VastConfig, body: bytes) -> None:
    api = Api(config, config.endpoints[0], StoreClock())
    refused = api._refused(500, body)
    assert (refused.status, refused.code, str(refused)) == (500, "", "500")
    api.close()


class _Ailing(BaseHTTPRequestHandler):
    """Answers everything with an error of a gateway."""

    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._fail
        raise AttributeError(name)

    def _fail(self) -> None:
        self.server.hits += 1  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@contextmanager
def _ailing() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Ailing)
    server.hits = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_endpoint_that_cannot_serve_is_left_alone(
    emulator: Emulator, config: VastConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LEFT_ALONE_SECONDS", 600.0)
    with _ailing() as server:
        url = f"http://127.0.0.1:{server.server_port}"
        with closing(VastClient(replace(config, endpoints=(url, emulator.url)))) as client:
            for _ in range(20):
                tx = client.begin()
                assert tx.count(_SERVICE) == 3
                tx.rollback()
            assert server.hits == 1  # type: ignore[attr-defined]
            # A change is not made again: it may have been carried out.
            bad = next(e for e in client.cluster._endpoints if e.url == url)
            tx = Tx(client, client.begin().txid, bad)
            bad.down_until = 0
            with pytest.raises(Unavailable, match="the VAST cluster answered 503"):
                _insert(tx)
        with (
            closing(VastClient(replace(config, endpoints=(url,)))) as client,
            pytest.raises(Unavailable, match="the VAST cluster answered 503"),
        ):
            client.begin()


def test_an_endpoint_that_keeps_silent_is_left_alone(
    emulator: Emulator, config: VastConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LEFT_ALONE_SECONDS", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        quick = replace(config, endpoints=(url, emulator.url), timeout_seconds=2)
        with closing(VastClient(quick)) as client:
            failures = 0
            for _ in range(10):
                try:
                    client.begin().rollback()
                except Unavailable:
                    failures += 1
            assert failures == 1


def test_a_select_of_too_many_bytes_is_refused(
    client: VastClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "_PAGE_ROWS", 100)
    monkeypatch.setattr(query, "MAX_BYTES", 200_000)
    tx = client.begin()
    rows = [("f", i, "x" * 1_000) for i in range(300)]
    tx.insert(_SEGMENTS, rows_to_batch(_SEGMENTS, ("flow_id", "start_ns", "tags"), rows))
    with pytest.raises(LimitExceeded, match="of segments exceeds 200000 bytes"):
        tx.select(_SEGMENTS, ("tags",))
    assert tx.select(_SEGMENTS, ("start_ns",)).num_rows == 300
    assert tx.count(_SEGMENTS, [eq("flow_id", "f")]) == 300


_FIELDS = [pa.field("a", pa.int64()), pa.field("b", pa.string())]


def _answer() -> bytes:
    parts = []
    for f, values in zip(_FIELDS, ([1, 2, None], ["x", None, "yz"]), strict=True):
        schema = pa.schema([f])
        batch = pa.record_batch([pa.array(values, f.type)], schema=schema)
        end = b"\xff\xff\xff\xff\0\0\0\0"
        parts += [schema.serialize().to_pybytes(), batch.serialize().to_pybytes(), end]
    return b"".join(bytes(4) + (7).to_bytes(8, "little") + part for part in parts)


_ANSWER = _answer()


@examples(1_500)
@given(
    st.lists(st.tuples(st.integers(0, len(_ANSWER) - 1), st.integers(0, 255)), max_size=4),
    st.integers(0, len(_ANSWER)),
    st.binary(max_size=24),
)
def test_no_answer_is_more_than_cut_or_unreadable(
    changed: list[tuple[int, int]], at: int, more: bytes
) -> None:
    body = bytearray(_ANSWER)
    for place, value in changed:
        body[place] = value
    body[at:at] = more
    try:
        page = parse_page(bytes(body), _FIELDS)
    except (Cut, Unreadable):
        return
    assert [len(batches) for batches in page.columns] == [page.portions] * 2
