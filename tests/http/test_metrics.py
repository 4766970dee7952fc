"""What the process counted, as Prometheus reads it."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text
from starlette.applications import Starlette

from tams_gql.http.metrics import metrics_routes
from tams_gql.metrics import COUNTERS, Counter
from tests.catalog import Catalog
from tests.http.conftest import Serve
from tests.waiting import PATIENCE_SECONDS

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


async def test_counters_with_and_without_labels_in_both_formats(serve: Serve) -> None:
    # given
    jobs = Counter("tams_jobs_total", "Attempts at jobs.", "kind", "outcome")
    jobs.add("copy", "done", by=3)
    jobs.add('"odd"\n\\', "failed")
    size = Counter("tams_gc_bytes_total", "Bytes.")
    port = await serve(Starlette(routes=metrics_routes([jobs, size])))
    for accept, parse in (("*/*", plain_text), (OPEN_METRICS, open_metrics)):
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as client:
            # when
            answer = await client.get(
                f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept}
            )
        # then
        found = {family.name: family for family in parse(answer.text)}
        assert answer.headers["content-type"].split(";")[0] == (
            "text/plain" if accept == "*/*" else "application/openmetrics-text"
        )
        assert answer.headers["cache-control"] == "no-store"
        assert found["tams_jobs"].type == "counter"
        assert found["tams_jobs"].documentation == "Attempts at jobs."
        assert {
            (sample.name, *sample.labels.values()): sample.value
            for sample in found["tams_jobs"].samples
        } == {
            ("tams_jobs_total", "copy", "done"): 3.0,
            ("tams_jobs_total", '"odd"\n\\', "failed"): 1.0,
        }
        assert [sample.value for sample in found["tams_gc_bytes"].samples] == [0.0]
        (memory,) = found["process_resident_memory_bytes"].samples
        assert memory.value > 1_000_000


@pytest.mark.parametrize("version", ["abc", "1.x", "", "1.0.0.0.0", "-1", "9" * 100])
async def test_any_version_may_be_asked_for(serve: Serve, version: str) -> None:
    counted = Counter("tams_asked_total", "How often it was asked.")
    counted.add(by=7)
    port = await serve(Starlette(routes=metrics_routes([counted])))
    for kind in ("application/openmetrics-text", "text/plain"):
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False) as client:
            answer = await client.get(
                f"http://127.0.0.1:{port}/metrics", headers={"Accept": f"{kind};version={version}"}
            )
        assert answer.status_code == 200
        assert "tams_asked_total 7.0" in answer.text


async def test_the_server_exports_every_counter(catalog: Catalog) -> None:
    answer = await catalog.http.get("/metrics")
    names = {f"{family.name}_total" for family in plain_text(answer.text)}
    assert {counter.name for counter in COUNTERS} <= names
