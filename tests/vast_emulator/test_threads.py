"""What the threads of one server share."""

from __future__ import annotations

import http.client
import socket
from typing import Any

import pyarrow as pa
import pytest
from vastdb import errors

from tests.vast_emulator import Emulator
from tests.vast_emulator.driving import Driver
from tests.vast_emulator.errors import RpcError
from tests.vast_emulator.switches import Switches
from tests.vast_emulator.transactions import Engine, Transaction


def test_what_has_been_rolled_back_meanwhile_is_not_committed() -> None:
    engine = Engine(Switches())
    engine.create_bucket("b")
    transaction = engine.begin()
    engine.change(transaction, "b", lambda catalog: catalog.with_schema("s", ""))
    # as a thread sees it that has found the transaction just before another one ends it
    engine.rollback(transaction)

    with pytest.raises(RpcError) as refused:
        engine.commit(transaction)
    assert (refused.value.status, refused.value.code) == (404, "NoSuchTransaction")
    with pytest.raises(RpcError):
        engine.claim_name(transaction, "name")
    assert list(engine.bucket("b").schemas) == []
    engine.claim_name(engine.begin(), "name")  # nobody holds it


def test_a_row_that_goes_while_it_is_written(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read committed: what counts is what is there when the row is claimed."""
    driver.create("t", {"id": pa.utf8(), "n": pa.int64()})
    with driver() as tx:
        driver.insert(tx, {"id": ["a", "b"], "n": [1, 2]})
    engine = driver.emulator._server.engine
    claim, gone = engine.claim_rows, list[int]()

    def late(transaction: Transaction, table_id: int, ids: Any, columns: list[str]) -> None:
        if not gone:
            gone.extend(ids.tolist())
            with driver() as other:
                driver.delete(other, gone)
        claim(transaction, table_id, ids, columns)

    monkeypatch.setattr(engine, "claim_rows", late)
    with driver.emulator.switched(isolation="read_committed"), driver() as writer:
        with pytest.raises(errors.NotFound):
            driver.update(writer, [0], {"n": [10]})
        gone.clear()
        with pytest.raises(errors.NotFound):
            driver.delete(writer, [1])


def test_a_client_that_leaves_before_it_is_accepted_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Listener:
        """The server's own, where a client has gone at first."""

        def __init__(self, listener: socket.socket) -> None:
            self._listener = listener
            self.gone = 1

        def __getattr__(self, name: str) -> Any:
            return getattr(self._listener, name)

        def accept(self) -> tuple[socket.socket, Any]:
            if self.gone:
                self.gone -= 1
                raise ConnectionAbortedError
            return self._listener.accept()

    emulator = Emulator()
    server = emulator._server
    monkeypatch.setattr(server, "_listener", Listener(server._listener))
    with emulator:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        client.request("GET", "/_emulator/switches")
        assert client.getresponse().read() != b""
        client.close()
