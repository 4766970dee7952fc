"""The settings of storage backends: where they come from, what they need, what they never show."""

from __future__ import annotations

import json
import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tams_gql.cli import main
from tams_gql.media.external.rules import ExternalRules, HostRule
from tams_gql.media.s3.config import S3BackendSettings
from tams_gql.media_choice import external_rules
from tams_gql.settings import Settings, load_settings
from tams_gql.settings_sources import InvalidSettings

VARIABLE = "TAMS_STORAGE_BACKENDS"
SECRET = "wJalrXUtnFEMI-secret"
KEYS = {"kind": "keys", "access_key_id": "AKIDEXAMPLE", "secret_access_key": SECRET}
ID = "7c1f0f53-8d3e-4b41-9a53-1f9f6d7f5a10"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for key in os.environ:
        if key.startswith("TAMS_"):
            monkeypatch.delenv(key)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def problems(environment: pytest.MonkeyPatch, *backends: Any, **others: str) -> list[str]:
    environment.setenv(VARIABLE, json.dumps(backends))
    for name, value in others.items():
        environment.setenv(name, value)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert SECRET not in str(refused.value)
    return list(refused.value.problems)


def backend(label: str = "cold", **values: Any) -> dict[str, Any]:
    return {"label": label, "bucket": "media-bucket", **values}


def test_backends_are_tables_of_the_file(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # given
    file = tmp_path / "tams.toml"
    file.write_text(
        f"""
local_media = false

[[storage_backends]]
label = "fast"
bucket = "fast-media"
endpoint = "https://s3.example.com/"
default = true
[storage_backends.tags]
tier = ["hot", "ssd"]
[storage_backends.credentials]
kind = "files"
access_key_id = "/run/secrets/id"
secret_access_key = "/run/secrets/key"

[[storage_backends]]
id = "{ID}"
label = "cold"
bucket = "cold-media"
"""
    )
    environment.setenv("TAMS_CONFIG_FILE", str(file))
    # when
    settings = load_settings()
    # then
    fast, cold = settings.storage_backends
    assert not settings.local_media
    assert (fast.label, fast.id, fast.bucket, fast.default) == ("fast", None, "fast-media", True)
    assert (fast.endpoint, fast.tags) == ("https://s3.example.com", {"tier": ("hot", "ssd")})
    assert fast.credentials.kind == "files"
    assert (cold.id, cold.endpoint, cold.credentials.kind) == (ID, None, "chain")
    assert settings.data_place == f"{settings.data_dir} and bucket fast-media, bucket cold-media"


def test_backends_are_json_in_a_variable_or_in_a_file_that_it_names(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = json.dumps([backend(credentials=KEYS)])
    environment.setenv(VARIABLE, text)
    by_variable = load_settings()
    environment.delenv(VARIABLE)
    (tmp_path / "backends.json").write_text(text)
    environment.setenv(f"{VARIABLE}_FILE", str(tmp_path / "backends.json"))
    assert load_settings() == by_variable
    assert by_variable.storage_backends == (S3BackendSettings(**backend(credentials=KEYS)),)
    assert SECRET not in repr(by_variable)


def test_none_is_the_empty_list(environment: pytest.MonkeyPatch) -> None:
    environment.setenv(VARIABLE, "none")
    assert load_settings().storage_backends == ()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"bucket": "x"}, "storage_backends.1.bucket: string should match pattern "),
        ({"buckett": "x"}, "storage_backends.1.buckett: unknown field"),
        ({"endpoint": "ftp://x"}, "storage_backends.1.endpoint: must be an http or https URL "),
        ({"id": "X"}, "storage_backends.1: storage backend id 'X' is not a lower-case UUID"),
        ({"presigned": False}, "storage_backends.1: presigned: false needs a public_base_url"),
        ({"url_signer": "a:b"}, "storage_backends.1: url_signer: needs a public_base_url and "),
        ({"url_signer": "no colon"}, "storage_backends.1.url_signer: string should match pattern "),
        ({"url_signer": {"kind": "x"}}, "storage_backends.1.url_signer: input tag 'x' found using"),
        (
            {"url_signer": {"kind": "edgeauth", "key": 7}},
            "storage_backends.1.url_signer.key: input is not a valid path",
        ),
        (
            {"url_signer": {"kind": "cloudfront", "key_pair_id": "K", "private_key": "/k"}},
            "storage_backends.1: url_signer: needs a public_base_url and presigned: true",
        ),
        ({"credentials": {"kind": "vault"}}, "storage_backends.1.credentials: input tag 'vault' "),
        (
            {"credentials": {**KEYS, "access_key_id": None}},
            "storage_backends.1.credentials.access_key_id: input should be a valid string",
        ),
        (
            {"credentials": {**KEYS, "secret_access_key": [SECRET]}},
            "storage_backends.1.credentials.secret_access_key: input should be a valid string",
        ),
        ({"label": None}, "storage_backends.1.label: input should be a valid string"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(
    environment: pytest.MonkeyPatch, values: dict[str, Any], problem: str
) -> None:
    (found,) = problems(environment, backend("first"), backend(**{"credentials": KEYS, **values}))
    assert found.startswith(f"{VARIABLE}: {problem}")


@pytest.mark.parametrize(
    ("backends", "problem"),
    [
        ([backend("a"), backend("a")], "backends of different label; two have 'a'"),
        ([backend("local")], "backends of different label; two have 'local'"),
        ([backend("a", id=ID), backend("b", id=ID)], f"backends of different id; two have '{ID}'"),
        (
            [backend("a", public_base_url="https://cdn.example.com")],
            "backends that have a public_base_url with a url_signer or presigned: false;"
            " 'a' has neither",
        ),
        (
            [backend("a", default=True), backend("b", default=True)],
            "at most one backend with `default`",
        ),
    ],
)
def test_backends_must_fit_together(
    environment: pytest.MonkeyPatch, backends: list[Any], problem: str
) -> None:
    assert problems(environment, *backends) == [f"{VARIABLE}: must be {problem}"]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("HOSTS", "media.example.com,a b", "'a b' is not one"),
        ("HOSTS", "http://media.example.com", "'http://media.example.com' is not one"),
        ("NETWORKS", "10.1.0.0/8", "'10.1.0.0/8' is not one"),
        ("NETWORKS", "media.example.com", "'media.example.com' is not one"),
    ],
)
def test_places_of_external_copies_must_be_places(
    environment: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    environment.setenv(f"TAMS_EXTERNAL_COPY_{name}", value)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    (found,) = refused.value.problems
    assert found.startswith(f"TAMS_EXTERNAL_COPY_{name}=")
    assert found.endswith(problem)


def test_nothing_is_copied_from_elsewhere_by_default(environment: pytest.MonkeyPatch) -> None:
    assert external_rules(load_settings()) == ExternalRules()
    environment.setenv("TAMS_EXTERNAL_COPY_HOSTS", "*.example.com, archive.test:8443")
    environment.setenv("TAMS_EXTERNAL_COPY_NETWORKS", "10.1.0.0/16,fd00::/8")
    assert external_rules(load_settings()) == ExternalRules(
        hosts=(HostRule("*.example.com"), HostRule("archive.test", 8443)),
        networks=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")),
    )


@pytest.mark.parametrize("text", [f'[{{"secret_access_key": "{SECRET}"', f'"{SECRET}"'])
def test_text_that_is_no_list_is_refused_unseen(environment: pytest.MonkeyPatch, text: str) -> None:
    environment.setenv(VARIABLE, text)
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    (problem,) = refused.value.problems
    assert problem.startswith(f"{VARIABLE}: must be a list of objects in JSON")
    assert SECRET not in problem


def test_some_storage_must_be_left(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TAMS_LOCAL_MEDIA", "false")
    with pytest.raises(InvalidSettings, match="must be given if TAMS_LOCAL_MEDIA is false"):
        load_settings()


def test_backends_have_no_option_on_the_command_line() -> None:
    shown = CliRunner().invoke(main, ["serve", "--help"]).output
    assert "--local-media" in shown
    assert "storage-backends" not in shown


def test_the_page_about_s3_has_every_field() -> None:
    page = Path(__file__).parents[1] / "docs" / "media-s3.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    fields = [row.split("`")[1] for row in rows]
    assert [name for name in fields if name in S3BackendSettings.model_fields] == list(
        S3BackendSettings.model_fields
    )
    assert Settings.model_fields["storage_backends"].description is not None
