"""``/metrics``: what this process has counted, for Prometheus to collect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tams_gql.metrics import COUNTERS, Counter


def metrics_routes(counters: Sequence[Counter] = COUNTERS) -> list[Route]:
    """Return the route of ``/metrics``: ``counters``, and the process's own memory, time and files.

    Answers in OpenMetrics or in Prometheus's older text format, as ``Accept`` asks. It names no
    client, object or address, and asks for no credentials.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Counted(counters))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)

    async def metrics(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (TypeError, ValueError):  # a version that is no number
            encode, content_type = choose_encoder("")
        headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Vary": "Accept"}
        return Response(encode(registry), headers=headers)

    return [Route("/metrics", metrics)]


class _Counted(Collector):
    """Reads the counters when it is asked; nothing is counted twice."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters

    def collect(self) -> Iterable[CounterMetricFamily]:
        for counter in self._counters:
            family = CounterMetricFamily(counter.name, counter.meaning, labels=counter.labels)
            # Without labels there is one number, which is zero at first.
            counted = counter.all() if counter.labels else {(): counter.get()}
            for values, count in counted.items():
                family.add_metric(values, count)
            yield family
