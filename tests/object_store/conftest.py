"""An S3 server, and programs whose media is in its bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.media.s3_server import S3Server, chosen_kind, s3_server
from tests.processes import Process

Start = Callable[..., Process]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with a bucket."""
    if chosen_kind() is None:
        pytest.skip("no S3 server: neither TAMS_TEST_S3_ENDPOINT, nor versitygw, nor moto")
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def prefix(s3: S3Server) -> str:
    """What the keys of this test's objects begin with."""
    return str(s3.values()["key_prefix"])


@pytest.fixture
def start(tmp_path: Path, s3: S3Server, prefix: str) -> Iterator[Start]:
    """Start a command; its server has no other storage than the bucket."""
    running: list[Process] = []
    credentials = {
        "kind": "environment",
        "access_key_id": "BUCKET_KEY_ID",
        "secret_access_key": "BUCKET_KEY",
    }
    values: dict[str, Any] = s3.values(
        key_prefix=prefix, credentials=credentials, region=s3.region, tags={"tier": "fast"}
    )

    def run(command: list[str], **env: str) -> Process:
        settings = {
            "TAMS_PORT": "0",
            "TAMS_DATA_DIR": str(tmp_path / "data"),
            "TAMS_LOCAL_MEDIA": "false",
            "TAMS_STORAGE_BACKENDS": orjson.dumps([values]).decode(),
            "BUCKET_KEY_ID": s3.access_key_id,
            "BUCKET_KEY": s3.secret_access_key,
        }
        process = Process(command, {**settings, **env}, tmp_path)
        running.append(process)
        return process

    yield run
    for process in running:
        process.close()


def stored_keys(s3: S3Server, prefix: str) -> set[str]:
    """What is in the bucket, as its owner sees it."""
    client = s3.client()
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=s3.bucket, Prefix=prefix)
        return {found["Key"] for page in pages for found in page.get("Contents", [])}
    finally:
        client.close()
