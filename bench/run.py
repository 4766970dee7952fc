"""One run of everything that is asked for."""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from bench.clients import Client, client_process
from bench.generate import shape_in
from bench.plan import Plan
from bench.queries import Query, queries
from bench.reading import Target, compare, floor_target, graphql_target, measure
from bench.report import OTHER, OURS, report
from bench.servers import CHECKOUT, catalog_server, floor_server
from bench.trips import count_trips
from bench.writing import measure_delivery, measure_ingest
from tams_gql.settings import Settings

Say = Callable[[str], None]


def run(plan: Plan, say: Say) -> None:
    """Measure and report. Times are never judged, wrong answers are: ``ServerFailed``."""
    shape = shape_in(plan.data_dir)
    asked = [q for q in queries(shape) if not plan.queries or q.name in plan.queries]
    results: dict[str, Any] = {"machine": _machine(), "segments": shape.segments}
    if "trips" in plan.parts:
        results["trips"] = asyncio.run(count_trips(plan.data_dir, asked))
    with client_process() as client:
        if "queries" in plan.parts:
            results["queries"] = _queries(plan, client, asked)
        if {"ingest", "delivery"}.intersection(plan.parts):
            for name, checkout in _checkouts(plan).items():
                _writes(plan, client, name, checkout, results)
    say(report(results, {query.name: query.about for query in asked}))
    if plan.output is not None:
        plan.output.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2) + b"\n")


def _checkouts(plan: Plan) -> dict[str, Path]:
    others = {} if plan.against is None else {OTHER: plan.against}
    return {OURS: CHECKOUT, **others}


def _queries(plan: Plan, client: Client, asked: list[Query]) -> dict[str, Any]:
    with ExitStack() as stack:
        catalog = Settings(data_dir=plan.data_dir).catalog_file
        targets: list[Target] = []
        for name, checkout in _checkouts(plan).items():
            server = stack.enter_context(catalog_server(name, plan.data_dir, checkout))
            targets.append(graphql_target(server, asked))
        targets.append(floor_target(stack.enter_context(floor_server(catalog)), asked))
        compare(targets, asked)
        random = Random(plan.seed)
        return measure(
            client, targets, asked, seconds=plan.seconds, rounds=plan.rounds, random=random
        )


def _writes(plan: Plan, client: Client, name: str, checkout: Path, results: dict[str, Any]) -> None:
    with (
        TemporaryDirectory(dir=plan.data_dir, prefix="writes-") as folder,
        catalog_server(name, Path(folder), checkout) as server,
    ):
        for part, measured in (("delivery", measure_delivery), ("ingest", measure_ingest)):
            if part in plan.parts:
                results.setdefault(part, {})[name] = measured(client, server, plan.seconds)


def _machine() -> dict[str, Any]:
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
