"""Faults that tests ask for."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .counting import WRITES, Rpc
from .transactions import Transaction

ACTIONS = (
    "error",
    "drop_request",
    "drop_reply",
    "cut",
    "drip",
    "garble",
    "delay",
    "hold",
    "expire",
)
_HOLD_SECONDS = 60.0


@dataclass(eq=False)
class Fault:
    """A rule: which RPCs it is for, which of those it hits, what happens to them."""

    action: str
    kinds: tuple[str, ...] = ()
    """RPC kinds; ``write`` stands for insert, update and delete; none means every RPC."""
    table: str = ""
    """``table``, ``schema/table`` or ``bucket/schema/table``; for ``commit`` and ``rollback``
    it means the transactions that wrote this table."""
    bucket: str = ""
    nth: int = 1
    """The first matching RPC that is hit, counted from 1."""
    times: int | None = 1
    """How many are hit from there on; None for all."""
    probability: float = 1.0
    """Chance of each of them to be hit."""
    seed: int = 0
    status: int = 500
    code: str = "InternalError"
    message: str = "injected fault"
    reset: bool = False
    """For dropped replies and requests: close with RST instead of FIN."""
    after: int = 0
    """Bytes of the body that a cut reply still has."""
    seconds: float = 0.0
    """Length of a delay, or between two bytes of a dripping reply."""
    id: int = 0
    hits: int = 0
    """RPCs it has hit so far."""
    _seen: int = field(default=0, repr=False)
    _reached: threading.Event = field(default_factory=threading.Event, repr=False)
    _released: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"action must be one of {ACTIONS}, not {self.action!r}")
        kinds: set[str] = set()
        for kind in self.kinds:
            kinds |= WRITES if kind == "write" else {kind}
        self.kinds = tuple(sorted(kinds))
        self._random = random.Random(self.seed)

    def is_for(self, rpc: Rpc, transaction: Transaction | None) -> bool:
        """Whether the rule is for this RPC."""
        if self.kinds and rpc.kind not in self.kinds:
            return False
        if self.bucket and rpc.bucket != self.bucket:
            return False
        if not self.table:
            return True
        paths = {rpc.table_path} if rpc.table else set()
        if rpc.kind in ("commit", "rollback") and transaction is not None:
            paths = transaction.tables
        return any(path == self.table or path.endswith("/" + self.table) for path in paths)

    def hit(self) -> bool:
        """Count a matching RPC; whether it is hit."""
        self._seen += 1
        if self._seen < self.nth or (self.times is not None and self.hits >= self.times):
            return False
        if self.probability < 1 and self._random.random() >= self.probability:
            return False
        self.hits += 1
        return True

    def hold(self) -> None:
        """Keep the RPC until ``release`` (at most a minute, so that no test hangs for ever)."""
        self._reached.set()
        self._released.wait(_HOLD_SECONDS)

    def wait_reached(self, seconds: float = _HOLD_SECONDS) -> None:
        """Wait until an RPC is being held. Raises TimeoutError."""
        if not self._reached.wait(seconds):
            raise TimeoutError(f"no RPC reached {self!r}")

    def release(self) -> None:
        """Let held RPCs go on; later ones are not held."""
        self._released.set()

    @property
    def reached(self) -> bool:
        """Whether an RPC has been held."""
        return self._reached.is_set()

    def as_json(self) -> dict[str, Any]:
        """The rule and its state."""
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        return {**shown, "reached": self.reached}


class Faults:
    """The rules in force, in the order in which they were made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[int, Fault] = {}
        self._last = 0

    def add(self, fault: Fault) -> Fault:
        """Put a rule into force."""
        with self._lock:
            self._last += 1
            fault.id = self._last
            self._rules[fault.id] = fault
        return fault

    def get(self, fault_id: int) -> Fault:
        """A rule by its id. Raises KeyError."""
        return self._rules[fault_id]

    def remove(self, fault: Fault) -> None:
        """Take a rule away; what it holds goes on."""
        with self._lock:
            self._rules.pop(fault.id, None)
        fault.release()

    def clear(self) -> None:
        """Take all rules away."""
        for fault in list(self._rules.values()):
            self.remove(fault)

    def hitting(self, rpc: Rpc, transaction: Transaction | None) -> list[Fault]:
        """The rules that hit an RPC."""
        if not self._rules:
            return []
        with self._lock:
            return [
                fault
                for fault in self._rules.values()
                if fault.is_for(rpc, transaction) and fault.hit()
            ]

    # -- the usual ones

    def conflict(self, nth: int = 1, kinds: Iterable[str] = ("write",), **rule: Any) -> Fault:
        """409 on the n-th write (or other kind)."""
        return self.add(
            Fault("error", tuple(kinds), nth=nth, status=409, code="TabularConflict", **rule)
        )

    def slow_down(self, kinds: Iterable[str] = (), **rule: Any) -> Fault:
        """503 SlowDown."""
        return self.add(Fault("error", tuple(kinds), status=503, code="SlowDown", **rule))

    def forbid(self, *kinds: str, **rule: Any) -> Fault:
        """403 for some kinds of RPC or a table, until removed."""
        rule.setdefault("times", None)
        return self.add(Fault("error", kinds, status=403, code="AccessDenied", **rule))

    def fail(self, status: int, kinds: Iterable[str] = (), **rule: Any) -> Fault:
        """Any other error reply."""
        return self.add(Fault("error", tuple(kinds), status=status, **rule))

    def drop_commit(self, applied: bool, **rule: Any) -> Fault:
        """The commit's reply is lost, after or before it was applied."""
        return self.add(Fault("drop_reply" if applied else "drop_request", ("commit",), **rule))

    def drop(self, *kinds: str, applied: bool = False, **rule: Any) -> Fault:
        """The connection ends without a reply; ``reset=True`` for RST."""
        return self.add(Fault("drop_reply" if applied else "drop_request", kinds, **rule))

    def cut_query(self, after: int, **rule: Any) -> Fault:
        """The reply of a query ends after some bytes of its body."""
        return self.add(Fault("cut", ("query",), after=after, **rule))

    def drip(self, seconds: float, *kinds: str, **rule: Any) -> Fault:
        """The reply's body comes byte by byte."""
        return self.add(Fault("drip", kinds, seconds=seconds, **rule))

    def garble(self, body: bytes, *kinds: str, **rule: Any) -> Fault:
        """The RPC is applied, but the reply is a 200 with another body and nothing else."""
        return self.add(Fault("garble", kinds, message=body.decode("latin-1"), **rule))

    def delay(self, seconds: float, *kinds: str, **rule: Any) -> Fault:
        """The RPC is applied later."""
        rule.setdefault("times", None)
        return self.add(Fault("delay", kinds, seconds=seconds, **rule))

    def hold(self, *kinds: str, **rule: Any) -> Fault:
        """The RPC waits for ``release()`` before it is applied."""
        return self.add(Fault("hold", kinds, **rule))

    def expire(self, *kinds: str, **rule: Any) -> Fault:
        """The transaction of the RPC expires just before it."""
        return self.add(Fault("expire", kinds, **rule))
