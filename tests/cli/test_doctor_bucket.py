"""``tams-gql doctor --scan-bucket``: stored bytes that the catalog does not know of."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tams_gql.cli import main
from tams_gql.opening import open_services
from tams_gql.settings import Settings
from tests.failing import FailingMedia
from tests.lifecycle.orphans import fill
from tests.lifecycle.world import write


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAMS_CONFIG_FILE", raising=False)


def scanned(data: Path) -> dict[str, Any]:
    """The finding about stored bytes."""
    options = ["doctor", "--scan-bucket", "--json", "--data-dir", str(data)]
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 0, done.output
    checks: list[dict[str, Any]] = json.loads(done.output)["checks"]
    (found,) = [check for check in checks if check["check"].startswith("stored bytes")]
    return found


async def store(data: Path, known: int, *unknown: str) -> str:
    """Objects of the catalog, and bytes that nothing knows; the id of the storage backend."""
    async with open_services(Settings(data_dir=data, sqlite_synchronous="normal")) as services:
        await fill(services, known)
        (media,) = services.media
        for key in unknown:
            await write(FailingMedia(media), key, b"12345")
        return media.backend.id


def test_bytes_of_no_object_are_named_and_stay(tmp_path: Path) -> None:
    storage_id = asyncio.run(store(tmp_path, 3))
    facts = {"storage_id": storage_id, "label": "local", "listed": 3, "objects": 0, "bytes": 0}
    found = scanned(tmp_path)
    assert (found["check"], found["status"], found["text"], found["facts"]) == (
        "stored bytes in local",
        "ok",
        "3 objects, all known",
        {**facts, "keys": []},
    )
    asyncio.run(store(tmp_path, 0, "elsewhere/1"))
    for file in (tmp_path / "media" / "objects").rglob("*"):
        os.utime(file, (1, 1))
    for _ in range(2):
        found = scanned(tmp_path)
        assert (found["status"], found["text"], found["facts"]) == (
            "warning",
            "4 objects, of which the catalog does not know 1 of 5 bytes: elsewhere/1",
            {**facts, "listed": 4, "objects": 1, "bytes": 5, "keys": ["elsewhere/1"]},
        )


def test_a_catalog_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = scanned(tmp_path / "later")
    assert (found["status"], found["text"]) == (
        "skipped",
        "the catalog has schema version none",
    )
    assert not (tmp_path / "later").exists()
