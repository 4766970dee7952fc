"""An S3 server for the tests: a real one wherever there is one.

In this order: the endpoint of ``TAMS_TEST_S3_ENDPOINT``, with ``_BUCKET``, ``_ACCESS_KEY_ID``,
``_SECRET_ACCESS_KEY``, ``_REGION``, and ``_MAX_NAME_BYTES`` if it keeps objects in files; the
program ``versitygw``, named by ``TAMS_TEST_VERSITYGW`` (or ``TAMS_VERSITYGW``) or on the path,
started on an empty folder; the server of ``moto``, which does not check signatures.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import botocore.config
import botocore.session

from tams_gql.media.s3.config import S3BackendConfig
from tests.ports import free_port

STORAGE_ID = "7c1f0f53-8d3e-4b41-9a53-1f9f6d7f5a10"
VIRTUAL_DOMAIN = "s3.test"
_START_SECONDS = 60.0

Kind = Literal["endpoint", "versitygw", "moto"]


@dataclass
class S3Server:
    """A running server with a bucket."""

    kind: Kind
    endpoint: str
    region: str
    bucket: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    virtual_domain: str | None = None
    max_name_bytes: int = 1_024
    """The longest part of a key between slashes: where keys are file names, they end at 255."""

    @property
    def checks_signatures(self) -> bool:
        return self.kind != "moto"

    def values(self, **changes: object) -> dict[str, Any]:
        """The configuration of a backend in this server's bucket, as an operator writes it."""
        credentials = {
            "kind": "keys",
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        }
        return {
            "id": STORAGE_ID,
            "label": "s3-test",
            "endpoint": self.endpoint,
            "region": self.region,
            "bucket": self.bucket,
            "credentials": credentials,
            "key_prefix": f"tams-{secrets.token_hex(4)}/",
            **changes,
        }

    def config(self, **changes: object) -> S3BackendConfig:
        return S3BackendConfig.model_validate(self.values(**changes))

    def client(self) -> Any:
        """botocore's own client, to look at the bucket from the side."""
        return botocore.session.Session().create_client(
            "s3",
            region_name=self.region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            config=botocore.config.Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
            ),
        )

    def add_user(self, access_key_id: str, secret_access_key: str) -> None:
        """Make another user who may do everything; only for ``versitygw``."""
        user = ("--access", access_key_id, "--secret", secret_access_key, "--role", "admin")
        self._admin("create-user", *user)

    def remove_user(self, access_key_id: str) -> None:
        self._admin("delete-user", "--access", access_key_id)

    def _admin(self, *command: str) -> None:
        program = versitygw()
        assert program is not None
        admin = ("--access", self.access_key_id, "--secret", self.secret_access_key)
        place = ("--region", self.region, "--endpoint-url", self.endpoint)
        subprocess.run(
            [program, "admin", *admin, *place, *command], check=True, capture_output=True
        )


def versitygw() -> str | None:
    """The program, if there is one here."""
    # Servers that the tests start take other variables that begin with TAMS_ for settings.
    named = os.environ.get("TAMS_TEST_VERSITYGW") or os.environ.get("TAMS_VERSITYGW")
    return named or shutil.which("versitygw")


def chosen_kind() -> Kind | None:
    """Which server the tests use here; None if there is none to be had."""
    if os.environ.get("TAMS_TEST_S3_ENDPOINT"):
        return "endpoint"
    if versitygw() is not None:
        return "versitygw"
    return "moto" if importlib.util.find_spec("moto") is not None else None


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """The server that ``chosen_kind`` names, with an empty bucket if it is started here."""
    kind = chosen_kind()
    if kind == "endpoint":
        yield _given_endpoint()
    elif kind == "versitygw":
        with started_versitygw(folder) as server:
            yield server
    else:
        with _started_moto(folder) as server:
            yield server


def _given_endpoint() -> S3Server:
    return S3Server(
        kind="endpoint",
        endpoint=os.environ["TAMS_TEST_S3_ENDPOINT"],
        region=os.environ.get("TAMS_TEST_S3_REGION", "us-east-1"),
        bucket=os.environ["TAMS_TEST_S3_BUCKET"],
        access_key_id=os.environ["TAMS_TEST_S3_ACCESS_KEY_ID"],
        secret_access_key=os.environ["TAMS_TEST_S3_SECRET_ACCESS_KEY"],
        max_name_bytes=int(os.environ.get("TAMS_TEST_S3_MAX_NAME_BYTES", "1024")),
    )


@contextmanager
def started_versitygw(
    folder: Path, *, port: int | None = None, options: tuple[str, ...] = (), scheme: str = "http"
) -> Iterator[S3Server]:
    """``versitygw`` on files in ``folder``; started there again, it has what it had before."""
    program = versitygw()
    assert program is not None
    port = port or free_port()
    objects, users = folder / "objects", folder / "users"
    for made in (objects, users):
        made.mkdir(parents=True, exist_ok=True)
    server = S3Server(
        kind="versitygw",
        endpoint=f"{scheme}://127.0.0.1:{port}",
        region="eu-test-1",
        bucket="media",
        access_key_id="root-access-key",
        secret_access_key="root-secret-access-key",
        virtual_domain=f"{VIRTUAL_DOMAIN}:{port}",
        max_name_bytes=255,
    )
    # A virtual domain is compared with the whole Host header.
    domain = ("--virtual-domain", f"{VIRTUAL_DOMAIN}:{port}")
    command = [
        *(program, "--port", f"127.0.0.1:{port}", "--region", server.region, "--quiet"),
        *("--iam-dir", str(users), "--iam-cache-disable", *domain, *options),
        *("posix", *_metadata(folder), str(objects)),
    ]
    secret = {
        "ROOT_ACCESS_KEY_ID": server.access_key_id,
        "ROOT_SECRET_ACCESS_KEY": server.secret_access_key,
    }
    with _running(command, folder / "server.log", port, secret):
        if scheme == "http":
            _make_bucket(server)
        yield server


def _metadata(folder: Path) -> tuple[str, ...]:
    """Where the objects' headers are kept: beside them if the file system has no attributes."""
    probe = folder / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.probe", b"1")
    except OSError:
        beside = folder / "metadata"
        beside.mkdir(exist_ok=True)
        return ("--sidecar", str(beside))
    return ()


@contextmanager
def _started_moto(folder: Path) -> Iterator[S3Server]:
    port = free_port()
    server = S3Server(
        kind="moto",
        endpoint=f"http://127.0.0.1:{port}",
        region="us-east-1",
        bucket="media",
        access_key_id="moto-access-key",
        secret_access_key="moto-secret-access-key",
    )
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, folder / "server.log", port, {}):
        _make_bucket(server)
        yield server


def _make_bucket(server: S3Server) -> None:
    client = server.client()
    try:
        if server.bucket not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=server.bucket)
    finally:
        client.close()


@contextmanager
def _running(
    command: list[str], log: Path, port: int, secret: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | secret
        )
        try:
            _wait_for(port, process, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"the S3 server did not start: {log.read_text(errors='replace')[-2000:]}")
