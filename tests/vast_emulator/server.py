"""The server: a thread per connection, a reply per request."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import socket
import struct
import threading
import time

from .calls import Call
from .control import Control
from .counting import CONTROL, Counters, Rpc
from .errors import RpcError
from .faults import Fault, Faults
from .router import COMMANDS, HANDLERS, WITHOUT_TRANSACTION, kind_of, place_of
from .switches import Switches
from .transactions import Engine
from .wire import Incomplete, Reply, Request, Sender, Stream

_log = logging.getLogger(__name__)
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")
_RESET = struct.pack("ii", 1, 0)
_ACCEPT_PAUSE = 0.01
# Property tests watch over the generator that the module `random` shares.
_JITTER = random.Random()


class Drop(Exception):
    """Close the connection instead of answering."""

    def __init__(self, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class Server:
    """Answers RPCs on a TCP port until stopped."""

    def __init__(self, host: str, port: int, access_key: str) -> None:
        self.switches = Switches()
        self.engine = Engine(self.switches)
        self.faults = Faults()
        self.counters = Counters()
        self.control = Control(self)
        self.access_key = access_key
        self._sender = Sender()
        self._listener = socket.create_server((host, port), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._accept, name="vast-emulator", daemon=True)

    def start(self) -> None:
        """Accept connections."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self._stopping = True
        self.faults.clear()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        with self._lock:
            open_now = list(self._connections)
        for connection in open_now:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopping:
                    return
                time.sleep(_ACCEPT_PAUSE)  # that client has gone; others come
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.add(connection)
                self.connections += 1
            threading.Thread(
                target=self._serve, args=(connection, self.connections), daemon=True
            ).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        stream = Stream(connection)
        try:
            while self._answer(connection, stream.read(), number):
                pass
        except (Incomplete, OSError):
            pass
        except Drop as drop:
            if drop.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _answer(self, connection: socket.socket, request: Request, number: int) -> bool:
        if request.path[:1] == ["_emulator"]:
            reply = self.control.answer(request)
            self._send(connection, request, reply, Rpc(CONTROL), None)
            return request.keep_alive
        started = time.perf_counter()
        kind = kind_of(request)
        schema, table = place_of(request, kind)
        txid = request.headers.get("tabular-txid", "")
        rpc = Rpc(kind, request.bucket, schema, table, txid, connection=number)
        rpc.bytes_in = len(request.body)
        try:
            reply, cut = self._handled(request, rpc)
            rpc.status = reply.status
            # counted before it is sent: a client that has the answer finds it counted
            rpc.bytes_out = reply.size
        finally:
            rpc.seconds = time.perf_counter() - started
            self.counters.add(rpc)
        self._send(connection, request, reply, rpc, cut)
        if cut is not None:
            raise Drop(cut.reset)
        return request.keep_alive

    def _send(
        self,
        connection: socket.socket,
        request: Request,
        reply: Reply,
        rpc: Rpc,
        cut: Fault | None,
    ) -> None:
        switches = self.switches
        head = self._sender.head(
            reply, switches.version, switches.clock_offset_seconds, request.keep_alive
        )
        if request.method == "HEAD":
            connection.sendall(head)
            return
        if cut is not None and cut.action == "drip":
            self._sender.drip(connection, head, reply, cut.seconds)
        else:
            self._sender.send(connection, head, reply, None if cut is None else cut.after)

    def _handled(self, request: Request, rpc: Rpc) -> tuple[Reply, Fault | None]:
        switches = self.switches
        if switches.latency_ms or switches.jitter_ms:
            time.sleep((switches.latency_ms + _JITTER.uniform(0, switches.jitter_ms)) / 1000)
        try:
            self._authorise(request)
            faults = self._before(rpc)
            reply = self._dispatch(request, rpc)
        except RpcError as error:
            return self._failed(error, rpc), None
        except Drop:
            raise
        except Exception as error:
            _log.exception("the emulator failed on %s %s", request.method, rpc)
            return self._failed(RpcError(500, "InternalError", repr(error)), rpc), None
        cut = None
        for fault in faults:
            if fault.action == "drop_reply":
                raise Drop(fault.reset)
            if fault.action in ("cut", "drip"):
                cut = fault
            if fault.action == "garble":
                reply = Reply(body=[fault.message.encode("latin-1")], content_type="text/html")
        return reply, cut

    def _failed(self, error: RpcError, rpc: Rpc) -> Reply:
        rpc.code = error.code
        body = error.body(f"{rpc.connection}-{rpc.kind}")
        return Reply(error.status, body=[body], content_type="application/xml")

    def _authorise(self, request: Request) -> None:
        if not self.switches.check_access_key:
            return
        found = _CREDENTIAL.search(request.headers.get("authorization", ""))
        if found is None or found[1] != self.access_key:
            raise RpcError(403, "InvalidAccessKeyId", "the access key id is not known here")

    def _before(self, rpc: Rpc) -> list[Fault]:
        transaction = self.engine.open.get(int(rpc.txid)) if rpc.txid.isdecimal() else None
        faults = self.faults.hitting(rpc, transaction)
        for fault in faults:
            match fault.action:
                case "delay":
                    time.sleep(fault.seconds)
                case "hold":
                    fault.hold()
                case "expire":
                    if transaction is not None:
                        self.engine.rollback(transaction)
                case "drop_request":
                    raise Drop(fault.reset)
                case "error":
                    raise RpcError(fault.status, fault.code, fault.message)
        return faults

    def _dispatch(self, request: Request, rpc: Rpc) -> Reply:
        handler = HANDLERS.get(rpc.kind)
        if handler is None:
            what = f"{request.method} ?{request.command}"
            if request.command in COMMANDS:
                raise RpcError(405, "MethodNotAllowed", what)
            raise RpcError(501, "NotImplemented", what)
        call = Call(request, self.engine, rpc)
        if rpc.kind not in WITHOUT_TRANSACTION:
            call.transaction = self.engine.find(rpc.txid)
        reply: Reply = handler(call)
        return reply
