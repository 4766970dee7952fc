"""Opening a media folder: the secret, what an earlier run left, and the settings."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tams_gql.media.local import LocalMedia
from tams_gql.media.port import StorageBackend
from tams_gql.model.errors import BadInput
from tests.media.folder import BACKEND, MPEG_TS, blocks, content, opened

DAY = 24 * 60 * 60


async def test_objects_and_urls_survive_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    await first.write("a", blocks(b"x"), content_type=MPEG_TS)
    [url] = first.sign_get(["a"], expires_in=60)
    second = opened(tmp_path)
    assert await content(second, "a") == b"x"
    query = url.partition("?")[2].encode()
    assert second.verify("GET", "a", query).key == "a"


def test_only_old_drafts_are_removed(tmp_path: Path) -> None:
    # given
    opened(tmp_path)
    drafts = tmp_path / "media" / "objects" / ".drafts"
    for name, age in (("old", DAY + 60), ("recent", DAY - 60), ("new", 0)):
        (drafts / name).write_bytes(b"half")
        os.utime(drafts / name, (time.time() - age,) * 2)
    # when
    opened(tmp_path)
    # then
    assert sorted(path.name for path in drafts.iterdir()) == ["new", "recent"]


def test_the_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    media = opened(tmp_path)
    file = tmp_path / "media" / "url-signing.secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = file.read_bytes()
    assert len(secret) == 32
    for text in (repr(media), str(media)):
        assert secret.hex() not in text
        assert repr(secret) not in text
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "objects",
        "url-signing.secret",
    ]


def test_a_secret_that_others_can_read_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(tmp_path)
    assert caplog.text == ""
    (tmp_path / "media" / "url-signing.secret").chmod(0o640)
    with caplog.at_level(logging.WARNING):
        opened(tmp_path)
    assert "may be read by other users (mode 640, not 600)" in caplog.text


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_broken_secret_stops_the_start(tmp_path: Path, size: int) -> None:
    opened(tmp_path)
    (tmp_path / "media" / "url-signing.secret").write_bytes(b"x" * size)
    with pytest.raises(BadInput, match=r"url-signing\.secret does not hold"):
        opened(tmp_path)


def test_processes_that_start_together_share_one_secret(tmp_path: Path) -> None:
    # given
    program = (
        "import hashlib, sys, time; from pathlib import Path\n"
        "from tams_gql.media._secret import load_or_create_secret\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "secret = load_or_create_secret(Path(sys.argv[1]))\n"
        "print(hashlib.sha256(secret).hexdigest())\n"
    )
    for attempt in range(3):
        file = tmp_path / f"secret-{attempt}"
        starters = [
            subprocess.Popen(
                [sys.executable, "-c", program, file],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for starter in starters:
            assert starter.stdout is not None
            assert starter.stdout.readline() == "ready\n"
        # when
        for starter in starters:
            assert starter.stdin is not None
            starter.stdin.write("go\n")
            starter.stdin.flush()
        digests = {starter.communicate()[0] for starter in starters}
        # then
        assert digests == {hashlib.sha256(file.read_bytes()).hexdigest() + "\n"}
    assert len(list(tmp_path.iterdir())) == 3


def test_the_folder_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "media").symlink_to(tmp_path / "disk")
    media = opened(tmp_path / "data")

    async def round_trip() -> bytes:
        await media.write("a/b", blocks(b"x"), content_type=MPEG_TS)
        return await content(media, "a/b")

    assert asyncio.run(round_trip()) == b"x"


def test_a_backend_without_signed_urls_is_refused(tmp_path: Path) -> None:
    public = StorageBackend(id=BACKEND.id, label="public", presigned=False)
    with pytest.raises(BadInput, match="signed URLs only"):
        LocalMedia(tmp_path, backend=public, public_url="http://media.test")


def test_the_public_url_may_have_a_path_and_a_slash(tmp_path: Path) -> None:
    media = LocalMedia(tmp_path, backend=BACKEND, public_url="https://media.test/tams/")
    [url] = media.sign_get(["a b"], expires_in=60)
    assert url.startswith("https://media.test/tams/media/a%20b?method=GET&expires=")


def test_an_expiry_is_never_shorter_than_asked(tmp_path: Path) -> None:
    media = LocalMedia(
        tmp_path, backend=BACKEND, public_url="http://media.test", clock=lambda: 1_000.25
    )
    [url] = media.sign_get(["a"], expires_in=60)
    assert "&expires=1061&" in url
    assert datetime.fromtimestamp(1061, UTC) > datetime.fromtimestamp(1_060.25, UTC)
