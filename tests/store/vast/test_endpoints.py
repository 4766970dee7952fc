"""Several endpoints: in turn, without those that do not answer, and over TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tams_gql.model.errors import Unavailable
from tams_gql.store.tables import SERVICE
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import physical_of, rows_to_batch
from tams_gql.store.vast.wire import cluster
from tams_gql.store.vast.wire.client import VastClient
from tests.ports import refusing
from tests.vast_emulator import Emulator

_SERVICE = physical_of(SERVICE)


class Relay:
    """Another address of the emulated cluster, which can be switched off, or speak TLS."""

    def __init__(self, to: str, tls: ssl.SSLContext | None = None) -> None:
        host, _, port = to.removeprefix("http://").partition(":")
        self._to = host, int(port)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Refuse connections and break those that are open."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for end in list(self._open):
            _end(end)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(near,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, near: socket.socket) -> None:
        try:
            if self._tls is not None:
                near = self._tls.wrap_socket(near, server_side=True)
        except OSError:
            near.close()
            return
        far = socket.create_connection(self._to)
        self._open |= {near, far}
        back = threading.Thread(target=_pump, args=(far, near))
        back.start()
        _pump(near, far)
        back.join()
        self._open -= {near, far}
        near.close()
        far.close()


def _end(end: socket.socket) -> None:
    """End both directions, if they have not ended."""
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    _end(sink)
    _end(source)


@contextmanager
def _relays(*relays: Relay) -> Iterator[tuple[Relay, ...]]:
    try:
        yield relays
    finally:
        for relay in relays:
            relay.stop()


def test_endpoints_are_used_in_turn(emulator: Emulator, config: VastConfig) -> None:
    with _relays(Relay(emulator.url), Relay(emulator.url), Relay(emulator.url)) as relays:
        shared = replace(config, endpoints=tuple(relay.url for relay in relays))
        with closing(VastClient(shared)) as client:
            for _ in range(9):
                tx = client.begin()
                assert tx.count(_SERVICE) == 3
                tx.rollback()
            assert [relay.connections for relay in relays] == [1, 1, 1]


def test_one_that_does_not_answer_is_left_alone(
    emulator: Emulator, config: VastConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_LEFT_ALONE_SECONDS", 600.0)
    with refusing() as dead:
        shared = replace(config, endpoints=(dead, emulator.url))
        with closing(VastClient(shared)) as client, emulator.counting() as rpcs:
            for _ in range(5):
                client.begin().rollback()
            (down,) = [e for e in client.cluster._endpoints if e.down_until]
            assert down.url == dead
            until = down.down_until
            client.begin().rollback()
            assert down.down_until == until  # it was not tried again
            down.down_until = time.monotonic()
            for _ in range(2):
                client.begin().rollback()
            assert down.down_until > until
    assert rpcs["begin"] == rpcs["rollback"] == 8


def test_a_transaction_goes_on_at_another_endpoint(emulator: Emulator, config: VastConfig) -> None:
    with _relays(Relay(emulator.url)) as (second,):
        first = Relay(emulator.url)
        with closing(VastClient(replace(config, endpoints=(first.url,)))) as client:
            tx = client.begin()
            tx.insert(_SERVICE, rows_to_batch(_SERVICE, ("name",), [("new",)]))
            first.stop()
            with pytest.raises(Unavailable, match="the VAST cluster cannot be reached"):
                tx.count(_SERVICE)
        shared = replace(config, endpoints=(first.url, second.url))
        with closing(VastClient(shared)) as client:
            at = next(e for e in client.cluster._opened() if e.url == first.url)
            other = type(tx)(client, tx.txid, at)
            # Nothing was sent to the first endpoint, so even writes may go to the other.
            assert other.count(_SERVICE) == 4
            at.down_until = 0
            other.insert(_SERVICE, rows_to_batch(_SERVICE, ("name",), [("newer",)]))
            at.down_until = 0
            other.commit()
            assert client.begin().count(_SERVICE) == 5


def test_without_any_endpoint_the_store_is_unavailable(config: VastConfig) -> None:
    with refusing() as nowhere:
        shared = replace(config, endpoints=(nowhere, nowhere))
        with closing(VastClient(shared)) as client:
            started = time.monotonic()
            with pytest.raises(Unavailable) as raised:
                client.begin()
            assert time.monotonic() - started < 10
    assert str(raised.value) == "the VAST cluster cannot be reached: NewConnectionError"


def test_a_name_that_does_not_exist_is_reported(config: VastConfig) -> None:
    missing = replace(config, endpoints=("http://vast.invalid:80",))
    with (
        closing(VastClient(missing)) as client,
        pytest.raises(Unavailable, match="the VAST cluster cannot be reached: NameResolution"),
    ):
        client.begin()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext"]
    command += ["subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl makes the certificate, and is missing")
    return certificate, key


def test_certificates_are_verified(
    emulator: Emulator, config: VastConfig, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with _relays(Relay(emulator.url, context)) as (relay,):
        secured = replace(config, endpoints=(relay.url,))
        with (
            closing(VastClient(secured)) as client,
            pytest.raises(Unavailable, match="the VAST cluster cannot be reached: SSLError"),
        ):
            client.begin()
        empty = tmp_path / "empty.crt"
        empty.write_text("no certificate")
        for unusable in (empty, tmp_path / "missing.crt"):
            with (
                closing(VastClient(replace(secured, verify_tls=str(unusable)))) as client,
                pytest.raises(Unavailable, match="no certificate authorities can be read from"),
            ):
                client.begin()
        for verify in (str(certificate[0]), False):
            with closing(VastClient(replace(secured, verify_tls=verify))) as client:
                assert client.begin().count(_SERVICE) == 3
