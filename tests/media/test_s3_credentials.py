"""Credentials: found, renewed while the server runs, and never shown."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tams_gql.media.port import PutRequest
from tams_gql.media.s3.chain import ChainSource
from tams_gql.media.s3.config import S3BackendConfig, open_s3
from tams_gql.media.s3.credentials import CredentialKeeper, EnvironmentSource, FilesSource
from tams_gql.media.s3.signing import Credentials
from tams_gql.model.errors import Unavailable
from tests.media.s3_server import S3Server
from tests.waiting import until

OLD, NEW = Credentials("old", "old-secret"), Credentials("new", "new-secret")


class Scripted:
    """A source that gives what it is told to; None fails."""

    def __init__(self, *given: Credentials | None) -> None:
        self.given = list(given)
        self.loads = 0

    async def load(self) -> Credentials:
        self.loads += 1
        now = self.given.pop(0) if len(self.given) > 1 else self.given[0]
        if now is None:
            raise Unavailable("the source is away")
        return now


@asynccontextmanager
async def kept(source: Scripted, **times: float) -> AsyncIterator[CredentialKeeper]:
    keeper = CredentialKeeper(source, **{"recheck_seconds": 0.02} | times)  # type: ignore[arg-type]
    await keeper.start()
    try:
        yield keeper
    finally:
        await keeper.aclose()


def temporary(name: str, seconds: float) -> Credentials:
    return Credentials(name, f"{name}-secret", f"{name}-token", time.time() + seconds)


async def test_what_does_not_expire_is_looked_up_again_and_again() -> None:
    source = Scripted(OLD, OLD, NEW)
    async with kept(source) as keeper:
        assert keeper.current() is OLD
        await until(lambda: keeper.current() is NEW)


async def test_temporary_ones_are_renewed_before_they_expire() -> None:
    first, second = temporary("first", 10), temporary("second", 3_600)
    async with kept(Scripted(first, second), refresh_ahead_seconds=9.8) as keeper:
        assert keeper.current() is first
        await until(lambda: keeper.current() is second)
        assert first.expires_at is not None
        assert time.time() < first.expires_at
        # then: the next look is an hour away
        await asyncio.sleep(0.1)
        source = keeper._source
        assert isinstance(source, Scripted)
        assert source.loads == 2


async def test_a_source_that_is_away_is_asked_again_and_the_old_ones_stay() -> None:
    async with kept(Scripted(OLD, None, None, NEW)) as keeper:
        assert keeper.current() is OLD
        await until(lambda: keeper.current() is NEW)


async def test_what_has_expired_signs_nothing() -> None:
    expired = temporary("expired", -1)
    async with kept(Scripted(expired, None), recheck_seconds=60) as keeper:
        with pytest.raises(Unavailable, match="have expired"):
            keeper.current()
        with pytest.raises(Unavailable, match="the source is away"):
            await keeper.fresh()


async def test_what_has_expired_is_renewed_when_it_is_needed() -> None:
    source = Scripted(temporary("expired", -1), NEW)
    async with kept(source, recheck_seconds=60) as keeper:
        assert await asyncio.gather(*(keeper.fresh() for _ in range(20))) == [NEW] * 20
        assert source.loads <= 3  # the keeper itself looks again after a second


async def test_a_thousand_refusals_are_one_load() -> None:
    source = Scripted(OLD)
    async with kept(source, recheck_seconds=60) as keeper:
        changed = await asyncio.gather(*(keeper.reload(OLD) for _ in range(1_000)))
        assert changed == [False] * 1_000
        assert source.loads == 2


async def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = EnvironmentSource("MEDIA_KEY", "MEDIA_SECRET", "MEDIA_TOKEN")
    with pytest.raises(Unavailable, match="MEDIA_KEY holds no S3 credentials"):
        await source.load()
    monkeypatch.setenv("MEDIA_KEY", "key")
    monkeypatch.setenv("MEDIA_SECRET", "secret")
    assert await source.load() == Credentials("key", "secret")
    monkeypatch.setenv("MEDIA_TOKEN", "token")
    assert await source.load() == Credentials("key", "secret", "token")


async def test_files_are_read_and_named_when_they_cannot_be(tmp_path: Path) -> None:
    key, secret = tmp_path / "key", tmp_path / "secret"
    key.write_text("key\n")
    source = FilesSource(key, secret, None)
    with pytest.raises(Unavailable, match=r"secret cannot be read \(FileNotFoundError\)"):
        await source.load()
    secret.write_bytes(b"secret \xff")
    with pytest.raises(Unavailable, match=r"secret cannot be read \(UnicodeDecodeError\)"):
        await source.load()
    secret.write_text(" ")
    with pytest.raises(Unavailable, match="holds no S3 credentials"):
        await source.load()
    secret.write_text("secret\n")
    assert await source.load() == Credentials("key", "secret")


@pytest.fixture
def _no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own AWS configuration."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.usefixtures("_no_aws")
async def test_the_chain_finds_the_environment_and_rotated_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="there are no S3 credentials in the environment"):
        await ChainSource().load()
    file = tmp_path / "credentials"
    source = ChainSource(profile="media")
    with pytest.raises(Unavailable, match="for the profile 'media'"):
        await source.load()
    for name in ("first", "second"):
        file.write_text(f"[media]\naws_access_key_id={name}\naws_secret_access_key=s-{name}\n")
        assert await source.load() == Credentials(name, f"s-{name}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s-env")
    assert await ChainSource().load() == Credentials("env", "s-env")
    other = tmp_path / "other"
    file.rename(other)
    assert (await ChainSource(profile="media", credentials_file=other).load()).access_key_id == (
        "second"
    )


@pytest.mark.usefixtures("_no_aws")
async def test_the_chain_tells_when_temporary_credentials_expire(tmp_path: Path) -> None:
    # given
    expires_at = int(time.time()) + 3_600
    answer = {
        "Version": 1,
        "AccessKeyId": "temporary",
        "SecretAccessKey": "process-secret",
        "SessionToken": "process-token",
        "Expiration": datetime.fromtimestamp(expires_at, UTC).isoformat(),
    }
    program = tmp_path / "credentials.py"
    program.write_text(f"print({json.dumps(json.dumps(answer))})")
    config = tmp_path / "config"
    config.write_text(f"[profile media]\ncredential_process = {sys.executable} {program}\n")
    # then
    found = await ChainSource(profile="media").load()
    assert found == Credentials("temporary", "process-secret", "process-token", expires_at)
    # when
    program.write_text("import sys; sys.exit('process-secret is not given')")
    with pytest.raises(Unavailable) as failed:
        await ChainSource(profile="media").load()
    assert "process-secret" not in str(failed.value)


class Silent:
    """A source that takes a while to find nothing."""

    loads = 0

    async def load(self) -> Credentials:
        self.loads += 1
        await asyncio.sleep(0.01)
        raise Unavailable("the metadata service does not answer")


async def test_a_source_that_does_not_answer_is_not_asked_for_each_request() -> None:
    # given
    source = Silent()
    keeper = CredentialKeeper(source)
    await keeper.start(patient=True)
    await keeper.aclose()
    assert source.loads == 1
    # when
    found = await asyncio.gather(*(keeper.fresh() for _ in range(100)), return_exceptions=True)
    # then
    assert source.loads == 2
    assert {str(error) for error in found} == {
        "the metadata service does not answer",
        "the S3 credentials are missing",
    }
    # and it is asked again a little later
    keeper._futile_until = 0.0
    with pytest.raises(Unavailable, match="does not answer"):
        await keeper.fresh()


async def test_urls_of_temporary_credentials_end_with_them(s3: S3Server, tmp_path: Path) -> None:
    media = await open_s3(s3.config())
    try:
        ends = time.time() + 100
        media._keeper._current = Credentials("temporary", "secret", "token", ends)
        [request] = media.sign_put([PutRequest("a", "video/mp2t")], expires_in=3_600)
        assert request.expires_at == datetime.fromtimestamp(ends, UTC)
        assert "&X-Amz-Security-Token=token&" in request.url
        media._keeper._current = Credentials("temporary", "secret", "token", time.time() - 1)
        with pytest.raises(Unavailable, match="have expired"):
            media.sign_get(["a"], expires_in=60)
    finally:
        await media.aclose()


def secret_files(folder: Path, key: str, secret: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for name, value in (("key", key), ("secret", secret)):
        draft = folder / f"{name}.new"
        draft.write_text(value)
        draft.chmod(stat.S_IRUSR | stat.S_IWUSR)
        draft.replace(folder / name)
    return {
        "kind": "files",
        "access_key_id": str(folder / "key"),
        "secret_access_key": str(folder / "secret"),
    }


@pytest.mark.parametrize("recheck", [0.1, 3_600])
async def test_credentials_are_rotated_while_the_server_runs(
    s3: S3Server, client: httpx.AsyncClient, tmp_path: Path, recheck: float
) -> None:
    if s3.kind != "versitygw":
        pytest.skip("only versitygw lets the tests make users")
    # given
    names = [f"user-{uuid.uuid4()}" for _ in range(2)]
    for name in names:
        await asyncio.to_thread(s3.add_user, name, f"secret-of-{name}")
    credentials = secret_files(tmp_path / "secrets", names[0], f"secret-of-{names[0]}")
    config = S3BackendConfig.model_validate(
        s3.values(credentials=credentials, credentials_recheck=recheck)
    )
    media = await open_s3(config)
    try:
        key = f"test/{uuid.uuid4()}"
        [request] = media.sign_put([PutRequest(key, "video/mp2t")], expires_in=60)
        answer = await client.put(request.url, headers=dict(request.headers), content=b"bytes")
        assert answer.status_code == 200
        # when
        secret_files(tmp_path / "secrets", names[1], f"secret-of-{names[1]}")
        await asyncio.to_thread(s3.remove_user, names[0])
        if recheck < 1:
            await until(lambda: media._keeper.current().access_key_id == names[1])
        # then: calls notice it at once, and the URLs made from then on are good
        stats = await media.stat([key] * 20)
        assert [found is not None and found.size for found in stats] == [5] * 20
        [url] = media.sign_get([key], expires_in=60)
        assert (await client.get(url)).content == b"bytes"
        # when: nothing valid is left
        await asyncio.to_thread(s3.remove_user, names[1])
        with pytest.raises(Unavailable):
            await media.stat([key])
        with pytest.raises(Unavailable, match="refuses the credentials of this service"):
            await media.delete([key, "other"])
    finally:
        await media.aclose()


async def test_nothing_secret_is_logged_even_at_debug(
    s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config = s3.config()
    media = await open_s3(config)
    try:
        await media.check()
        media._keeper._current = Credentials("AKID-wrong", "wrong-secret", "wrong-token")
        media._keeper._futile_until = time.monotonic() + 60
        if s3.checks_signatures:
            with pytest.raises(Unavailable) as refused:
                await media.delete(["a", "b"])
            assert "wrong" not in str(refused.value)
        [url] = media.sign_get(["a"], expires_in=60)
    finally:
        await media.aclose()
    signature = url.rpartition("=")[2]
    for secret in (s3.secret_access_key, "wrong-secret", "wrong-token", signature):
        assert secret not in caplog.text
