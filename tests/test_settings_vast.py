"""The settings of the VAST store: what they need of each other, and that keys stay secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tams_gql.settings import Settings, load_settings
from tams_gql.settings_sources import InvalidSettings

ACCESS_KEY = "AKIA-of-the-catalog"
SECRET_KEY = "correct-horse-battery-staple"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Only what a working deployment sets."""
    for key in os.environ:
        if key.startswith("TAMS_"):
            monkeypatch.delenv(key)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAMS_STORE", "vast")
    monkeypatch.setenv("TAMS_VAST_ENDPOINTS", "http://vast-1.example.com, http://10.0.0.2:8080")
    monkeypatch.setenv("TAMS_VAST_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("TAMS_VAST_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("TAMS_VAST_BUCKET", "media-db")
    return monkeypatch


def _problems(**command_line: object) -> list[str]:
    with pytest.raises(InvalidSettings) as refused:
        load_settings(command_line)
    return list(refused.value.problems)


def test_endpoints_keys_and_bucket_are_enough() -> None:
    settings = load_settings()
    assert settings.vast_endpoints == ("http://vast-1.example.com", "http://10.0.0.2:8080")
    assert settings.vast_access_key is not None
    assert settings.vast_access_key.get_secret_value() == ACCESS_KEY
    assert (settings.vast_bucket, settings.vast_schema) == ("media-db", "tams")
    assert (settings.vast_timeout, settings.vast_verify_tls) == (30, True)
    assert (settings.vast_read_threads, settings.vast_write_threads) == (8, 4)
    assert (settings.vast_isolation, settings.vast_conflicts) == ("auto", "auto")
    assert (settings.vast_reads, settings.vast_plain_queries) == ("transaction", False)
    assert settings.catalog_place == "schema tams in bucket media-db of the VAST cluster"
    assert settings.data_place == f"{settings.catalog_place}, media in {settings.media_dir}"


def test_the_log_is_looked_at_less_often_on_a_cluster(environment: pytest.MonkeyPatch) -> None:
    assert load_settings().event_poll_ms == 100
    assert load_settings({"event_poll_ms": "7"}).event_poll_ms == 7
    environment.setenv("TAMS_STORE", "embedded")
    assert load_settings().event_poll_ms == 25
    assert Settings().event_poll_ms == 25


@pytest.mark.parametrize(
    ("missing", "names", "verb"),
    [
        (["BUCKET"], "TAMS_VAST_BUCKET", "is"),
        (
            ["ENDPOINTS", "SECRET_KEY"],
            "TAMS_VAST_ENDPOINTS and TAMS_VAST_SECRET_KEY",
            "are",
        ),
        (["ACCESS_KEY"], "TAMS_VAST_ACCESS_KEY", "is"),
    ],
)
def test_what_the_store_needs_is_named(
    environment: pytest.MonkeyPatch, missing: list[str], names: str, verb: str
) -> None:
    for name in missing:
        environment.setenv(f"TAMS_VAST_{name}", "")
    assert _problems() == [
        f"TAMS_STORE='vast': must be given together with {names}, which {verb} not set"
    ]
    environment.setenv("TAMS_STORE", "embedded")
    assert load_settings().store == "embedded"


def test_a_refused_setting_is_not_called_missing() -> None:
    assert _problems(vast_bucket="a/b") == ["--vast-bucket='a/b': must be a bucket's name"]


@pytest.mark.parametrize(
    "endpoints",
    ["vast.example.com", "ftp://a", "http://a/path", "http://a,b", "http://a?x=1", "http://a:x"],
)
def test_an_endpoint_is_a_url_without_a_path(endpoints: str) -> None:
    (problem,) = _problems(vast_endpoints=endpoints)
    assert problem.endswith(
        ": must be none, or URLs such as http://vast.example.com:80 without a path, "
        "separated by commas"
    )


def test_all_endpoints_are_reached_in_one_way() -> None:
    (problem,) = _problems(vast_endpoints="http://a,https://b")
    assert problem.endswith(": must be either http or https for all endpoints")


def test_a_password_in_an_endpoint_is_refused_and_not_shown() -> None:
    (problem,) = _problems(vast_endpoints="http://user:hunter2@vast.example.com")
    assert "hunter2" not in problem
    assert "//user:***@vast.example.com" in problem


@pytest.mark.parametrize("schema", ["", "a/b", "a b", "-a", "x" * 129])
def test_a_schema_is_one_plain_name(schema: str) -> None:
    (problem,) = _problems(vast_schema=schema)
    assert problem.endswith("up to 128 letters, digits, dots, hyphens and underscores")


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("0", False), ("yes", True)]
)
def test_certificates_are_checked_or_not(text: str, value: bool) -> None:
    assert load_settings({"vast_verify_tls": text}).vast_verify_tls is value


def test_the_authorities_to_trust_are_a_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    assert load_settings({"vast_verify_tls": "ca.pem"}).vast_verify_tls == tmp_path / "ca.pem"
    assert _problems(vast_verify_tls="other.pem") == [
        "--vast-verify-tls='other.pem': must be true, false, or a file of CAs (PEM); "
        "there is no such file"
    ]


def test_modes_are_known_words() -> None:
    modes = {"vast_isolation": "READ_COMMITTED", "vast_conflicts": "Row", "vast_reads": "direct"}
    settings = load_settings(modes)
    assert (settings.vast_isolation, settings.vast_conflicts) == ("read_committed", "row")
    assert _problems(vast_isolation="serializable", vast_conflicts="table") == [
        "--vast-isolation='serializable': must be auto or snapshot or read_committed",
        "--vast-conflicts='table': must be auto or row or none",
    ]


def test_keys_come_from_files_and_are_never_shown(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "access").write_text(f"{ACCESS_KEY}\n")
    (tmp_path / "secret").write_text(f"{SECRET_KEY}\n")
    plain = load_settings()
    for name in ("ACCESS", "SECRET"):
        environment.delenv(f"TAMS_VAST_{name}_KEY")
        environment.setenv(f"TAMS_VAST_{name}_KEY_FILE", str(tmp_path / name.lower()))
    settings = load_settings()
    assert settings == plain
    shown = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert ACCESS_KEY not in shown
    assert SECRET_KEY not in shown
    assert "vast_access_key" in shown
