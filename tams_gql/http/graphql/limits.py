"""Bounds of requests and connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperationLimits:
    """Bounds on the operations of one process. Times in seconds, sizes in bytes."""

    timeout: int
    at_once: int
    waiting: int
    subscriptions: int
    persisted_bytes: int


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds of requests and connections. ``batch`` is 0 where batches are refused.

    ``connections`` counts the open WebSockets of one process.
    """

    operations: OperationLimits
    connections: int
    operations_per_connection: int
    batch: int
    heartbeat_seconds: float
