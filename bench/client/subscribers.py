"""Subscribers of a flow, and one writer that gives them something to hear."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from bench.client.http import BadAnswer, Connection
from bench.client.websocket import WebSocket
from bench.client.writers import NewFlow, external, new_flow, register_all

_PATIENCE_SECONDS = 30.0
# Nothing tells when a subscription has caught up with the log and waits for what is new.
_SETTLING_SECONDS = 0.3
_SUBSCRIBE = """
subscription Follow($flows: [ID!], $after: String) {
  segmentsAdded(flowIds: $flows, after: $after) {
    cursor
    created
    segments { id objectId timerange }
  }
}
"""
_START = re.compile(rb'"timerange":"\[(\d+):0_')


async def follow(port: int, subscribers: int, events: int, interval: float) -> dict[str, Any]:
    """Register one segment after the other; when each was sent, answered and delivered.

    Delays are microseconds since the writer sent the registration, and since it had its answer.
    """
    connection = await Connection.open(port)
    flow = await new_flow(connection)
    ears = [_Subscriber() for _ in range(subscribers)]
    for ear in ears:
        await ear.subscribe(port, flow)
    await asyncio.sleep(_SETTLING_SECONDS)
    sent: list[int] = []
    answered: list[int] = []
    for nth in range(events):
        await asyncio.sleep(interval)
        segments = external(nth, 1)
        sent.append(_now_us())
        await register_all(connection, flow.id, segments)
        answered.append(_now_us())
    async with asyncio.timeout(_PATIENCE_SECONDS):
        for ear in ears:
            await ear.hear(events)
    for ear in ears:
        ear.close()
    connection.close()
    arrivals = [(nth, at) for ear in ears for nth, at in ear.arrivals.items()]
    return {
        "answer_us": [a - s for s, a in zip(sent, answered, strict=True)],
        "since_sent_us": [at - sent[nth] for nth, at in arrivals],
        "since_answer_us": [at - answered[nth] for nth, at in arrivals],
    }


class _Subscriber:
    def __init__(self) -> None:
        self.arrivals: dict[int, int] = {}
        self._socket: WebSocket | None = None
        self._acknowledged = asyncio.Event()
        self._news = asyncio.Event()
        self._failure: str | None = None

    async def subscribe(self, port: int, flow: NewFlow) -> None:
        self._socket = await WebSocket.open(port, self._heard)
        self._socket.send({"type": "connection_init"})
        await asyncio.wait_for(self._acknowledged.wait(), _PATIENCE_SECONDS)
        payload = {"query": _SUBSCRIBE, "variables": {"flows": [flow.id], "after": flow.event}}
        self._socket.send({"id": "1", "type": "subscribe", "payload": payload})

    def close(self) -> None:
        assert self._socket is not None
        self._socket.close()

    async def hear(self, events: int) -> None:
        """Wait until so many have arrived. Raises ``BadAnswer`` if the server refuses."""
        while len(self.arrivals) < events:
            self._news.clear()
            await self._news.wait()
            if self._failure is not None:
                raise BadAnswer(self._failure)

    def _heard(self, text: bytes, now_us: int) -> None:
        if b'"connection_ack"' in text:
            self._acknowledged.set()
        elif found := _START.search(text):
            self.arrivals[int(found[1]) // 2] = now_us
        elif b'"errors"' in text or b'"error"' in text:
            self._failure = text.decode()
        self._news.set()


def _now_us() -> int:
    return time.time_ns() // 1000
