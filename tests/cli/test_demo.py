"""``tams-gql demo``: the loading client beside the server, and the text that helps."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from graphql import build_schema, parse, validate

from tams_gql.cli.demo import welcome
from tams_gql.http.explorer.queries import QUERIES
from tams_gql.schema import print_sdl
from tams_gql.settings import Settings
from tests.vast_emulator import Emulator

Start = Callable[..., Any]
LONG = 60
"""Seconds that a stop which waits for what need not be waited for would take."""
READY = r"GraphiQL +http://127\.0\.0\.1:(\d+)/graphql"
LOADED = "Loading has ended"
PROGRAMME = """{ sources(search: "programme", orderBy: {field: LABEL}) {
  nodes { id label flows(orderBy: {field: LABEL}) { nodes { id label timerange } } } } }"""
PROGRAMME_SEGMENTS = """{ sources(search: "programme", orderBy: {field: LABEL}) {
  nodes { flows { nodes { segments(first: 5) { nodes { getUrls { url } } } } } } } }"""
STORED = r"Demo programme: (\d+ segments stored|already stored)"


@pytest.mark.parametrize("title", QUERIES)
def test_the_queries_to_paste_fit_the_schema(title: str) -> None:
    assert validate(build_schema(print_sdl()), parse(QUERIES[title])) == []


def test_the_welcome_names_what_to_open_and_every_query() -> None:
    text = click.unstyle(welcome(Settings(port=8123, data_dir=Path("catalog"))))
    assert "GraphiQL   http://127.0.0.1:8123/graphql\n" in text
    assert "Readiness  http://127.0.0.1:8123/readyz\n" in text
    assert f"Data       {Path('catalog').absolute()}\n" in text
    assert all(query in text for query in QUERIES.values())


def test_the_client_is_given_the_url_and_its_output_is_marked(stand_in: Start) -> None:
    server = stand_in(
        "client",
        TAMS_HOST="0.0.0.0",
        TAMS_PUBLIC_URL="https://tams.example.com",
        TAMS_SHUTDOWN_GRACE=str(LONG),
    )
    server.wait_for(LOADED)
    lines = server.output
    assert re.search(r"GraphiQL +https://tams\.example\.com/graphql", lines)
    assert re.search(r"^ingest \| loading into http://127\.0\.0\.1:\d+$", lines, re.MULTILINE)
    code, took = server.stop(signal.SIGINT, LONG)
    assert (code, took < LONG / 2) == (0, True)


def test_a_failing_client_is_reported_and_the_server_goes_on(stand_in: Start) -> None:
    server = stand_in("failing_client")
    port = server.wait_for(READY)[1]
    server.wait_for("Loading the demo programme failed with code 3; the server goes on")
    assert "ingest | no disk\n" in server.output
    assert httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    assert server.stop(signal.SIGINT, LONG)[0] == 0


@pytest.mark.parametrize("client", ["endless_client", "stubborn_client"])
def test_ctrl_c_ends_the_client_too(stand_in: Start, client: str) -> None:
    server = stand_in(client, TAMS_SHUTDOWN_GRACE=str(LONG))
    pid = int(server.wait_for(r"ingest \| pid (\d+)")[1])
    code, took = server.stop(signal.SIGINT, LONG)
    # The one goes when it is asked to, the other is killed two seconds later.
    assert (code, took < LONG / 2) == (0, True)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_demo_plays_on_a_cluster_and_keeps_its_media_here(start: Start, tmp_path: Path) -> None:
    with Emulator("media-db") as cluster:
        server = start(
            [sys.executable, "-m", "tams_gql", "demo"],
            TAMS_PORT="0",
            TAMS_DATA_DIR=str(tmp_path / "data"),
            TAMS_STORE="vast",
            TAMS_VAST_ENDPOINTS=cluster.url,
            TAMS_VAST_ACCESS_KEY="AK",
            TAMS_VAST_SECRET_KEY="SK",
            TAMS_VAST_BUCKET="media-db",
        )
        port = server.wait_for(READY)[1]
        assert "Data       schema tams in bucket media-db of the VAST cluster" in server.output
        assert server.wait_for(STORED, 120)[1].endswith("segments stored")
        server.wait_for("Demo live channel")
        query = {"query": PROGRAMME_SEGMENTS}
        answer = httpx.post(f"http://127.0.0.1:{port}/graphql", json=query, trust_env=False)
        assert server.stop(signal.SIGINT, LONG)[0] == 0
        assert cluster.open_transactions() == []
    assert "ERROR" not in server.output
    sources = answer.json()["data"]["sources"]["nodes"]
    assert [len(node["flows"]["nodes"]) for node in sources] == [1, 1, 2]
    urls = [
        segment["getUrls"][0]["url"]
        for node in sources
        for flow in node["flows"]["nodes"]
        for segment in flow["segments"]["nodes"]
    ]
    assert len(urls) == 3 * 5
    assert all(url.startswith(f"http://127.0.0.1:{port}/media/") for url in urls)
    assert not (tmp_path / "data" / "catalog.sqlite3").exists()
    stored = [p for p in (tmp_path / "data" / "media" / "objects").rglob("*") if p.is_file()]
    assert len(stored) >= 90


def test_a_second_start_is_fast_and_finds_the_programme(start: Start, tmp_path: Path) -> None:
    def play() -> tuple[dict[str, Any], str, float]:
        began = time.monotonic()
        server = start(
            [sys.executable, "-m", "tams_gql", "demo"],
            TAMS_PORT="0",
            TAMS_DATA_DIR=str(tmp_path / "data"),
        )
        port = server.wait_for(READY)[1]
        stored = server.wait_for(STORED, 120)[1]
        took = time.monotonic() - began
        server.wait_for("Demo live channel")
        query = {"query": PROGRAMME}
        answer = httpx.post(f"http://127.0.0.1:{port}/graphql", json=query, trust_env=False)
        assert server.stop(signal.SIGINT, LONG)[0] == 0
        return answer.json(), stored, took

    first, stored, _ = play()
    second, known, took = play()
    assert stored.endswith("segments stored")
    assert [len(node["flows"]["nodes"]) for node in first["data"]["sources"]["nodes"]] == [1, 1, 2]
    assert (second, known, took < 30) == (first, "already stored", True)
