"""``tams-gql doctor`` and ``migrate`` on a cluster: what is wrong is named, keys never are."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tams_gql.cli import main
from tams_gql.store.vast.layout import PHYSICAL
from tests.ports import refusing
from tests.vast_emulator import Emulator

ACCESS_KEY, SECRET_KEY = "the-access-key", "the-secret-key"


@pytest.fixture(scope="module")
def shared() -> Iterator[Emulator]:
    """One emulator; each test may switch it."""
    with Emulator("media-db", ACCESS_KEY, SECRET_KEY) as emulator:
        yield emulator


@pytest.fixture
def emulator(
    shared: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Emulator]:
    """An empty bucket, and the environment that leads to it."""
    shared.create_bucket(shared.bucket)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAMS_CONFIG_FILE", raising=False)
    monkeypatch.setenv("TAMS_STORE", "vast")
    monkeypatch.setenv("TAMS_VAST_ENDPOINTS", shared.url)
    monkeypatch.setenv("TAMS_VAST_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("TAMS_VAST_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("TAMS_VAST_BUCKET", shared.bucket)
    monkeypatch.setenv("TAMS_VAST_TIMEOUT", "3")
    yield shared
    shared.faults.clear()


def _run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert SECRET_KEY not in done.output
    assert ACCESS_KEY not in done.output
    assert "Traceback" not in done.output
    return done.exit_code, done.output


def _checks(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    code, output = _run("doctor", "--json", *arguments)
    document = json.loads(output)
    assert document["ok"] is (code == 0)
    return code, {check["check"]: check for check in document["checks"]}


def _said(check: dict[str, Any]) -> tuple[str, str, str]:
    return check["status"], check["text"], check["advice"]


def test_an_empty_bucket_passes_every_check(emulator: Emulator) -> None:
    code, checks = _checks()
    assert code == 0
    assert list(checks) == [
        f"endpoint {emulator.url}",
        "credentials",
        "clock",
        "bucket",
        "permissions",
        "latency",
        "schema version",
        "media folder",
        "media secret",
    ]
    assert {check["status"] for check in checks.values()} == {"ok"}
    assert checks[f"endpoint {emulator.url}"]["text"] == "VAST 5.5.0.0"
    assert checks["schema version"]["text"] == "there is no catalog in schema tams yet"
    assert set(checks["latency"]["facts"]) == {"begin", "insert", "select", "commit"}
    assert not emulator.open_transactions()


def test_a_catalog_is_made_checked_and_counted(emulator: Emulator) -> None:
    place = "schema tams in bucket media-db of the VAST cluster"
    code, output = _run("migrate", "--check")
    assert code == 1
    match = re.fullmatch(rf"schema version none, this program needs (\d+): {place}\n", output)
    assert match is not None
    version = match[1]
    assert _run("migrate") == (0, f"schema version none -> {version}: {place}\n")
    assert _run("migrate") == (0, f"schema version {version}, nothing to do: {place}\n")
    assert _run("migrate", "--check")[0] == 0
    code, checks = _checks()
    assert code == 0
    assert checks["schema version"]["text"] == version
    rows = checks["rows"]["facts"]["rows"]
    assert rows["guards"] == 65_536
    assert rows["segments"] == rows["flows"] == rows["claims"] == 0


def test_the_text_has_every_check_and_the_probe_its_settings(emulator: Emulator) -> None:
    with emulator.switched(isolation="read_committed", conflict="none"):
        code, output = _run("doctor", "--probe")
    lines = output.splitlines()
    assert code == 0
    assert lines[0] == "Catalog: schema tams in bucket media-db of the VAST cluster"
    assert f"  ok       endpoint {emulator.url}: VAST 5.5.0.0" in lines
    assert any(line.startswith("  two writers of one cell") for line in lines)
    assert "  TAMS_VAST_ISOLATION=read_committed" in lines
    assert "  TAMS_VAST_CONFLICTS=none" in lines
    assert lines[-1] == "9 checks: 9 ok"


def test_the_probe_is_in_the_json_too(emulator: Emulator) -> None:
    code, output = _run("doctor", "--probe", "--json")
    document = json.loads(output)
    assert code == 0
    assert document["settings"]["TAMS_VAST_CONFLICTS"] == "row"
    assert {"question": "rollback", "answer": "undone"}.items() <= next(
        answer for answer in document["probe"] if answer["question"] == "rollback"
    ).items()


def test_refused_keys_are_named_by_their_variables(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMS_VAST_ACCESS_KEY", "somebody-else")
    code, checks = _checks()
    assert code == 1
    assert _said(checks[f"endpoint {emulator.url}"]) == (
        "failed",
        "the keys are refused (403)",
        "check TAMS_VAST_ACCESS_KEY and TAMS_VAST_SECRET_KEY, and the user's identity policy",
    )
    assert "permissions" not in checks
    code, output = _run("migrate")
    assert code == 1
    assert output.startswith("tams-gql: ")
    assert "somebody-else" not in output


def test_a_missing_bucket_is_named(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMS_VAST_BUCKET", "other-db")
    code, checks = _checks()
    assert code == 1
    assert _said(checks["bucket"]) == (
        "failed",
        "there is no bucket other-db",
        "make a database bucket of this name, or correct TAMS_VAST_BUCKET",
    )
    assert "permissions" not in checks


POLICY = "let the user's identity policy allow schemas, tables and rows of the bucket"


@pytest.mark.parametrize(
    ("forbidden", "text"),
    [
        ("create_schema", "no table can be made: 403 AccessDenied: injected fault"),
        ("create_table", "no table can be made: 403 AccessDenied: injected fault"),
        ("update", "update is refused (403 AccessDenied: injected fault)"),
        ("delete", "delete is refused (403 AccessDenied: injected fault)"),
        ("query", "select is refused (403 AccessDenied: injected fault)"),
    ],
)
def test_a_refused_action_is_named(emulator: Emulator, forbidden: str, text: str) -> None:
    emulator.faults.forbid(forbidden)
    code, checks = _checks()
    assert code == 1
    assert _said(checks["permissions"]) == ("failed", text, POLICY)
    assert "latency" not in checks


def test_a_dead_endpoint_is_named_and_the_others_are_used(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing() as dead:
        monkeypatch.setenv("TAMS_VAST_ENDPOINTS", f"{dead},{emulator.url}")
        code, checks = _checks()
    assert code == 1
    assert _said(checks[f"endpoint {dead}"]) == (
        "failed",
        "does not answer: connection refused",
        "correct or remove it in TAMS_VAST_ENDPOINTS, or repair the network",
    )
    assert checks["permissions"]["status"] == "ok"


def test_an_unknown_host_and_a_silent_one_are_told_apart(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        quiet = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("TAMS_VAST_TIMEOUT", "1")
        monkeypatch.setenv("TAMS_VAST_ENDPOINTS", f"http://no-such-host.invalid,{quiet}")
        code, checks = _checks()
    assert code == 1
    texts = {name: check["text"] for name, check in checks.items() if "endpoint" in name}
    assert texts == {
        "endpoint http://no-such-host.invalid": "does not answer: the host name is unknown",
        f"endpoint {quiet}": "does not answer: no answer within 1 seconds",
    }
    assert "credentials" not in checks


@pytest.mark.parametrize(
    ("offset", "status", "text"),
    [
        (0.0, "ok", "agrees with the cluster's to the second"),
        (60.0, "warning", "the cluster's is 60 seconds ahead"),
        (-900.0, "failed", "the cluster's is 900 seconds behind"),
    ],
)
def test_clocks_are_compared(emulator: Emulator, offset: float, status: str, text: str) -> None:
    with emulator.switched(clock_offset_seconds=offset):
        code, checks = _checks()
    assert code == (1 if status == "failed" else 0)
    found = checks["clock"]
    assert found["status"] == status
    # The header has whole seconds, so that what is seen may be off by one.
    seen = re.sub(r"\d+", lambda match: str(round(int(match[0]) / 10) * 10), found["text"])
    assert seen == text


def test_the_operators_page_has_every_table_with_its_sorting_key() -> None:
    page = Path(__file__).parents[2] / "docs" / "operating-vast.md"
    text = page.read_text(encoding="utf-8").partition("## Tables")[2].partition("## Sizing")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    told = {
        name: sorted_by.strip(" \u2013`")
        for names, _, sorted_by, _ in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    assert told == {table.name: ", ".join(table.sorted_by) for table in PHYSICAL}


def test_missing_settings_are_named_before_anything_is_asked(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMS_VAST_BUCKET", "")
    assert _run("doctor") == (
        2,
        "tams-gql: 1 setting is wrong:\n"
        "  TAMS_STORE='vast': must be given together with TAMS_VAST_BUCKET, which is not set\n",
    )
