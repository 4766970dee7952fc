"""The store that the settings choose: what a server does at its start, and what it imports."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest

from tams_gql.app import create_app
from tams_gql.model.errors import Unavailable
from tams_gql.settings import Settings
from tams_gql.store.scan import eq
from tams_gql.store.tables import SERVICE
from tams_gql.store.vast import schema
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, physical_of
from tams_gql.store.vast.wire.client import Tx, VastClient
from tams_gql.store_choice import migrate, vast_config, versions
from tests.ports import refusing
from tests.vast_emulator import Emulator
from tests.waiting import PATIENCE_SECONDS

SERVE = [sys.executable, "-m", "tams_gql", "serve"]
ROOT = Path(__file__).parents[2]

Start = Callable[..., Any]
PortOf = Callable[[Any], int]

STARTED_EMBEDDED = """
import asyncio, sys, tempfile
from pathlib import Path
from tams_gql.app import create_app
from tams_gql.settings import Settings

async def start() -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data_dir=Path(folder)))
        async with app.router.lifespan_context(app):
            pass

asyncio.run(start())
print(*sorted(sys.modules))
"""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """A cluster of this test's own: it may be stopped."""
    with Emulator("media-db") as running:
        yield running


@pytest.fixture
def settings(emulator: Emulator, tmp_path: Path) -> Settings:
    """A server's settings for the emulator."""
    return Settings(
        data_dir=tmp_path,
        store="vast",
        vast_endpoints=(emulator.url,),
        vast_access_key="AK",
        vast_secret_key="SK",
        vast_bucket="media-db",
        vast_timeout=2,
    )


def _environment(emulator: Emulator) -> dict[str, str]:
    return {
        "TAMS_PORT": "0",
        "TAMS_STORE": "vast",
        "TAMS_VAST_ENDPOINTS": emulator.url,
        "TAMS_VAST_ACCESS_KEY": "AK",
        "TAMS_VAST_SECRET_KEY": "the-secret-key",
        "TAMS_VAST_BUCKET": "media-db",
        "TAMS_VAST_TIMEOUT": "2",
    }


async def _start(settings: Settings) -> None:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        pass


def test_the_embedded_store_imports_nothing_of_the_other(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTED_EMBEDDED],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    modules = done.stdout.split()
    assert "tams_gql.store.embedded.store" in modules
    tops = {name.partition(".")[0] for name in modules}
    assert tops.isdisjoint({"vastdb", "ibis", "requests"})
    assert not [name for name in modules if name.startswith("tams_gql.store.vast")]


def test_the_settings_become_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    settings = Settings(
        store="vast",
        vast_endpoints=("https://a.example", "https://b.example"),
        vast_access_key="AK",
        vast_secret_key="SK",
        vast_bucket="b",
        vast_schema="s",
        vast_timeout=7,
        vast_read_threads=3,
        vast_write_threads=2,
        vast_verify_tls=tmp_path / "ca.pem",
        vast_isolation="read_committed",
        vast_conflicts="none",
        vast_reads="direct",
        vast_plain_queries=True,
    )
    assert vast_config(settings) == VastConfig(
        endpoints=("https://a.example", "https://b.example"),
        access_key="AK",
        secret_key="SK",
        bucket="b",
        schema="s",
        timeout_seconds=7,
        read_threads=3,
        write_threads=2,
        verify_tls=str(tmp_path / "ca.pem"),
        isolation="read_committed",
        conflicts="none",
        reads="direct",
        plain_queries=True,
    )


async def test_an_empty_schema_is_made_at_start(settings: Settings) -> None:
    needed = schema.latest_version()
    assert versions(settings) == (0, needed)
    await _start(settings)
    assert versions(settings) == (needed, needed)
    await _start(settings)


async def test_an_older_schema_is_refused_with_what_to_do(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(settings)
    now = schema.latest_version()

    def step(tx: Tx, config: VastConfig) -> None:
        del tx, config

    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS, step))
    with pytest.raises(Unavailable) as refused:
        await _start(settings)
    assert refused.value.message == (
        f"the catalog has schema version {now}, this program needs {now + 1}:"
        " run `tams-gql migrate`"
    )
    assert migrate(settings) == (now, now + 1)
    await _start(settings)


async def test_a_newer_schema_is_refused(settings: Settings) -> None:
    migrate(settings)
    service = physical_of(SERVICE)
    with closing(VastClient(vast_config(settings))) as client:
        tx = client.begin()
        found = tx.select(service, (), [eq("name", schema.VERSION_ROW)], row_ids=True)
        ids = found.column(ROW_ID).combine_chunks()
        tx.update(service, pa.record_batch([ids, pa.array(["99"])], names=[ROW_ID, "value"]))
        tx.commit()
    with pytest.raises(Unavailable, match="schema version 99, this program knows"):
        await _start(settings)
    with pytest.raises(Unavailable, match="a newer release wrote it"):
        migrate(settings)


def test_a_cluster_that_is_down_ends_the_start_with_a_clear_line(
    start: Start, emulator: Emulator
) -> None:
    with refusing() as dead:
        server = start(SERVE, **{**_environment(emulator), "TAMS_VAST_ENDPOINTS": dead})
        assert server.ended() == 1
    reason, end = server.output.splitlines()
    assert "ERROR uvicorn.error cannot start: the VAST cluster cannot be reached" in reason
    assert end.endswith("Application startup failed. Exiting.")
    assert "the-secret-key" not in server.output


def test_readiness_follows_the_cluster(start: Start, port_of: PortOf, emulator: Emulator) -> None:
    server = start(SERVE, **_environment(emulator))
    url = f"http://127.0.0.1:{port_of(server)}/readyz"

    def status(wanted: int) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = httpx.get(url, trust_env=False)
            if answer.status_code == wanted:
                found: dict[str, Any] = answer.json()["checks"]
                return found
            time.sleep(0.02)
        raise AssertionError(f"{url} never answered {wanted}: {server.output}")

    assert status(200) == {"store": {"status": "ok"}, "media": {"status": "ok"}}
    emulator.faults.fail(500, times=None)
    assert status(503)["media"] == {"status": "ok"}
    emulator.faults.clear()
    status(200)
    assert server.stop(signal.SIGTERM, PATIENCE_SECONDS)[0] == 0
    assert "schema tams in bucket media-db of the VAST cluster, media in " in server.output
    assert "the-secret-key" not in server.output
