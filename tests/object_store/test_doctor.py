"""``tams-gql doctor`` and ``tams-gql gc`` where the media is in a bucket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from tams_gql.cli import main
from tests.media.s3_server import S3Server


def run(data: Path, backends: list[dict[str, Any]], *command: str) -> tuple[int, Any]:
    env = {
        "TAMS_DATA_DIR": str(data),
        "TAMS_LOCAL_MEDIA": "false",
        "TAMS_STORAGE_BACKENDS": orjson.dumps(backends).decode(),
    }
    done = CliRunner().invoke(main, [*command, "--json"], env=env)
    assert "Traceback" not in done.output
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    env = {"TAMS_DATA_DIR": str(folder)}
    assert CliRunner().invoke(main, ["migrate"], env=env).exit_code == 0
    return folder


def findings(document: Any) -> dict[str, Any]:
    return {check["check"]: check for check in document["checks"]}


def test_each_bucket_is_tried_out(s3: S3Server, data: Path, tmp_path: Path) -> None:
    absent = {"kind": "files", "access_key_id": "/nowhere/id", "secret_access_key": "/nowhere/key"}
    backends = [
        s3.values(),
        s3.values(id=None, label="no bucket", bucket="no-such-bucket"),
        s3.values(id=None, label="no keys", credentials=absent),
    ]
    code, document = run(data, backends, "doctor")
    found = findings(document)
    assert code == 1
    assert found["storage backend s3-test"]["status"] == "ok"
    assert found["storage backend no bucket"]["status"] == "failed"
    assert "no such bucket" in found["storage backend no bucket"]["text"]
    assert "/nowhere/id cannot be read" in found["storage backend no keys"]["text"]
    assert "media folder" not in found
    assert s3.secret_access_key not in json.dumps(document)
    assert not (tmp_path / "data" / "media").exists()


def test_bytes_that_nobody_knows_are_found_in_the_bucket(s3: S3Server, data: Path) -> None:
    backend = s3.values()
    client = s3.client()
    try:
        client.put_object(Bucket=s3.bucket, Key=f"{backend['key_prefix']}stray", Body=b"12345")
    finally:
        client.close()
    code, document = run(data, [backend], "doctor", "--scan-bucket")
    assert code == 0
    # It was stored a moment ago and may yet be registered.
    assert findings(document)["stored bytes in s3-test"]["facts"]["listed"] >= 1
    code, report = run(data, [backend], "gc")
    assert (code, report["reclaimed"]["objects"]) == (0, 0)
