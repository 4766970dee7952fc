"""The local folder: what is on disk, and what never is."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import os
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tams_gql.media._files import file_name
from tams_gql.media.keys import MAX_KEY_BYTES
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import MAX_CONTENT_TYPE_CHARS, StorageBackend
from tams_gql.model.errors import BadInput, LimitExceeded, NotFound, Unavailable

BACKEND = StorageBackend(id="2ad06302-a05f-4e74-8b59-a1c4a3bcb7b1", label="local")
MPEG_TS = "video/mp2t"
DAY = 24 * 60 * 60


def opened(folder: Path, *, max_object_bytes: int = 1_000_000, durable: bool = False) -> LocalMedia:
    return LocalMedia(
        folder,
        backend=BACKEND,
        public_url="http://media.test",
        max_object_bytes=max_object_bytes,
        durable=durable,
    )


@pytest.fixture
def media(tmp_path: Path) -> LocalMedia:
    return opened(tmp_path)


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    return tmp_path / "media" / "objects"


def files_below(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    )


async def blocks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def content(media: LocalMedia, key: str) -> bytes:
    stored = await media.open_object(key)
    try:
        return stored.read(0, 10**9)
    finally:
        stored.close()


class TestFiles:
    async def test_the_layout_stays_readable(self, media: LocalMedia, objects: Path) -> None:
        await media.write("2026/03/04/12/846023d3-612d", blocks(b"x"), content_type=MPEG_TS)
        assert files_below(objects) == ["2026/03/04/12/846023d3-612d.object"]

    async def test_the_bytes_come_first_in_the_file(self, media: LocalMedia, objects: Path) -> None:
        await media.write("a", blocks(b"media ", b"bytes"), content_type=MPEG_TS)
        data = (objects / "a.object").read_bytes()
        assert data.startswith(b"media bytes{")
        assert json.loads(data[len(b"media bytes") : -12]) == {
            "key": "a",
            "content_type": MPEG_TS,
            "size": 11,
            "sha256": hashlib.sha256(b"media bytes").hexdigest(),
        }

    async def test_the_longest_key_and_type_fit(self, media: LocalMedia) -> None:
        key = "\U0001f3ac" * (MAX_KEY_BYTES // 4)
        content_type = "video/" + "x" * (MAX_CONTENT_TYPE_CHARS - 6)
        await media.write(key, blocks(b"x" * 5_000), content_type=content_type)
        [found] = await media.stat([key])
        assert found is not None
        assert (found.size, found.content_type) == (5_000, content_type)

    async def test_an_object_and_a_folder_may_have_the_same_name(self, media: LocalMedia) -> None:
        for key in ("a", "a/b", "a.object", "a.object/b", "A", ".drafts", ".drafts/x"):
            await media.write(key, blocks(key.encode()), content_type=MPEG_TS)
        for key in ("a", "a/b", "a.object", "a.object/b", "A", ".drafts", ".drafts/x"):
            assert await content(media, key) == key.encode()

    @given(st.text(min_size=1, max_size=300))
    def test_a_file_name_is_safe_on_any_file_system(self, segment: str) -> None:
        name = file_name(segment.encode("utf-8", "replace").decode())
        assert name.isascii()
        assert name == name.lower()
        assert 1 <= len(name) <= 200
        assert not set(name) & set('./\\:*?"<>| \x00')

    @given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
    def test_different_names_stay_different(self, one: str, other: str) -> None:
        assume(one != other)
        assert file_name(one) != file_name(other)

    async def test_a_reader_keeps_the_version_it_opened(self, media: LocalMedia) -> None:
        # given
        await media.write("a", blocks(b"old bytes"), content_type="video/mp4")
        reader = await media.open_object("a")
        # when
        await media.write("a", blocks(b"new"), content_type=MPEG_TS)
        await media.delete(["a"])
        # then
        assert (reader.read(0, 100), reader.stat.content_type) == (b"old bytes", "video/mp4")
        reader.close()
        assert reader.read(0, 100) == b""
        with pytest.raises(NotFound):
            await media.open_object("a")


class TestWriting:
    @pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 900_000])
    async def test_all_bytes_arrive_however_they_are_cut(
        self, media: LocalMedia, size: int
    ) -> None:
        data = os.urandom(size)
        cut = [data[at : at + 70_001] for at in range(0, size, 70_001)]
        written = await media.write("a", blocks(*cut), content_type=MPEG_TS, length=size)
        assert await content(media, "a") == data
        assert [written] == await media.stat(["a"])
        assert written.etag == hashlib.sha256(data).hexdigest()

    @pytest.mark.parametrize("declared", [2_001, None])
    async def test_too_much_is_refused(
        self, tmp_path: Path, objects: Path, declared: int | None
    ) -> None:
        media = opened(tmp_path, max_object_bytes=2_000)
        await media.write("a", blocks(b"x" * 2_000), content_type=MPEG_TS)
        with pytest.raises(LimitExceeded, match="max_object_bytes, 2000 bytes"):
            await media.write("a", blocks(b"y" * 2_001), content_type=MPEG_TS, length=declared)
        assert await content(media, "a") == b"x" * 2_000
        assert files_below(objects) == ["a.object"]

    async def test_a_declared_excess_is_refused_before_a_byte_is_taken(
        self, tmp_path: Path
    ) -> None:
        media = opened(tmp_path, max_object_bytes=2_000)
        taken = []

        async def source() -> AsyncIterator[bytes]:
            taken.append(1)
            yield b"x"

        with pytest.raises(LimitExceeded):
            await media.write("a", source(), content_type=MPEG_TS, length=2_001)
        assert taken == []

    @pytest.mark.parametrize("length", [2, 4])
    async def test_the_wrong_length_is_refused(
        self, media: LocalMedia, objects: Path, length: int
    ) -> None:
        with pytest.raises(BadInput, match=f"3 bytes arrived where Content-Length says {length}"):
            await media.write("a", blocks(b"xyz"), content_type=MPEG_TS, length=length)
        assert files_below(objects) == []

    async def test_a_source_that_fails_leaves_nothing(
        self, media: LocalMedia, objects: Path
    ) -> None:
        async def source() -> AsyncIterator[bytes]:
            yield b"x" * 600_000
            assert len(files_below(objects)) == 1  # it is on its way
            raise EOFError

        with pytest.raises(EOFError):
            await media.write("a", source(), content_type=MPEG_TS)
        assert files_below(objects) == []

    async def test_a_cancelled_upload_leaves_nothing(
        self, media: LocalMedia, objects: Path
    ) -> None:
        # given
        started = asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            yield b"x" * 600_000
            started.set()
            await asyncio.Event().wait()

        upload = asyncio.create_task(media.write("a", source(), content_type=MPEG_TS))
        await started.wait()
        assert len(files_below(objects)) == 1
        # when
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        # then
        assert files_below(objects) == []

    @pytest.mark.parametrize("delay", [n / 4_000 for n in range(12)])
    async def test_an_upload_cancelled_at_any_moment_is_whole_or_nothing(
        self, media: LocalMedia, objects: Path, delay: float
    ) -> None:
        data = os.urandom(900_000)
        cut = [data[at : at + 300_000] for at in range(0, len(data), 300_000)]
        upload = asyncio.create_task(media.write("a", blocks(*cut), content_type=MPEG_TS))
        await asyncio.sleep(delay)
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)
        assert files_below(objects) in ([], ["a.object"])
        if files_below(objects):
            assert await content(media, "a") == data

    @pytest.mark.parametrize(
        ("algorithm", "digest"),
        [
            ("md5", hashlib.md5(b"bytes").digest()),
            ("sha1", hashlib.sha1(b"bytes").digest()),
            ("sha256", hashlib.sha256(b"bytes").digest()),
            ("crc32", zlib.crc32(b"bytes").to_bytes(4, "big")),
        ],
    )
    async def test_checksums_are_verified(
        self, media: LocalMedia, objects: Path, algorithm: str, digest: bytes
    ) -> None:
        await media.write(
            "right",
            blocks(b"by", b"tes"),
            content_type=MPEG_TS,
            declared_checksums={algorithm: digest},
        )
        actual = base64.b64encode(digest).decode()
        for wrong in (digest[:-1], digest[:-1] + bytes([digest[-1] ^ 1]), b""):
            with pytest.raises(BadInput) as refused:
                await media.write(
                    "wrong",
                    blocks(b"bytes"),
                    content_type=MPEG_TS,
                    declared_checksums={algorithm: wrong},
                )
            assert f"the {algorithm} checksum of the received bytes is {actual}" in str(
                refused.value
            )
        assert files_below(objects) == ["right.object"]

    async def test_a_checksum_that_cannot_be_verified_is_not_ignored(
        self, media: LocalMedia
    ) -> None:
        with pytest.raises(BadInput, match="checksums by crc64nvme cannot be verified here"):
            await media.write(
                "a",
                blocks(b"x"),
                content_type=MPEG_TS,
                declared_checksums={"crc64nvme": b"12345678"},
            )

    async def test_uploads_of_one_key_never_mix(self, media: LocalMedia, objects: Path) -> None:
        # given
        versions = {f"video/v{n}": bytes([n]) * 700_000 for n in range(8)}

        async def slowly(data: bytes) -> AsyncIterator[bytes]:
            for at in range(0, len(data), 100_000):
                yield data[at : at + 100_000]
                await asyncio.sleep(0)

        async def read_until(done: asyncio.Event) -> set[str]:
            seen = set()
            while not done.is_set():
                stored = await media.open_object("a")
                kind = stored.stat.content_type
                assert kind is not None
                assert await asyncio.to_thread(stored.read, 0, 10**6) == versions[kind]
                stored.close()
                seen.add(kind)
            return seen

        await media.write("a", blocks(versions["video/v0"]), content_type="video/v0")
        done = asyncio.Event()
        reader = asyncio.create_task(read_until(done))
        # when
        await asyncio.gather(
            *(media.write("a", slowly(data), content_type=kind) for kind, data in versions.items())
        )
        done.set()
        # then
        assert await reader <= versions.keys()
        [last] = await media.stat(["a"])
        assert last is not None
        assert last.content_type in versions
        assert files_below(objects) == ["a.object"]

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
    async def test_a_durable_upload_is_on_disk_before_it_has_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given
        media = opened(tmp_path, durable=True)
        steps: list[str] = []
        sync, rename = os.fsync, Path.replace

        def seen_sync(descriptor: int) -> None:
            kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
            name = Path(f"/proc/self/fd/{descriptor}").readlink().name
            steps.append(f"sync {kind} {name if kind == 'folder' else ''}".strip())
            sync(descriptor)

        def seen_rename(self: Path, target: Path) -> Path:
            steps.append("rename")
            return rename(self, target)

        monkeypatch.setattr(os, "fsync", seen_sync)
        monkeypatch.setattr(Path, "replace", seen_rename)
        # when
        await media.write("2026/03/a", blocks(b"x"), content_type=MPEG_TS)
        # then
        assert steps == [
            "sync file",
            "sync folder objects",
            "sync folder 2026",
            "rename",
            "sync folder 03",
        ]


class TestDamage:
    @pytest.mark.parametrize("kept", ["none", "some", "all but the last byte", "a foreign file"])
    async def test_a_file_that_is_not_whole_is_no_object(
        self, media: LocalMedia, objects: Path, kept: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        # given
        await media.write("a", blocks(b"x" * 1_000), content_type=MPEG_TS)
        file = objects / "a.object"
        whole = file.read_bytes()
        file.write_bytes(
            {
                "none": b"",
                "some": whole[:500],
                "all but the last byte": whole[:-1],
                "a foreign file": b"RIFF" * 1_000,
            }[kept]
        )
        # then
        assert await media.stat(["a"]) == [None]
        with pytest.raises(NotFound):
            await media.open_object("a")
        assert "the file of media object 'a' is damaged" in caplog.text
        # when
        await media.write("a", blocks(b"again"), content_type=MPEG_TS)
        # then
        assert await content(media, "a") == b"again"

    async def test_lost_bytes_in_the_middle_are_noticed(
        self, media: LocalMedia, objects: Path
    ) -> None:
        await media.write("a", blocks(b"x" * 1_000), content_type=MPEG_TS)
        file = objects / "a.object"
        file.write_bytes(file.read_bytes()[1:])
        assert await media.stat(["a"]) == [None]

    @pytest.mark.parametrize("footer", [b"[1]", b"{}", b"\xff", b"{", b'{"size": 1}'])
    async def test_a_footer_of_somebody_else_is_noticed(
        self, media: LocalMedia, objects: Path, footer: bytes
    ) -> None:
        end = len(footer).to_bytes(4, "big") + b"TAMSobj1"
        (objects / "a.object").write_bytes(b"data" + footer + end)
        assert await media.stat(["a"]) == [None]

    async def test_a_link_to_a_file_is_not_followed(
        self, media: LocalMedia, objects: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        # given
        await media.write("real", blocks(b"secret"), content_type=MPEG_TS)
        outside = (objects / "real.object").rename(tmp_path / "outside")
        (objects / "a.object").symlink_to(outside)
        # then
        assert await media.stat(["a"]) == [None]
        assert "a symbolic link" in caplog.text
        await media.delete(["a"])
        assert outside.exists()

    async def test_a_link_to_a_folder_is_not_followed(
        self, media: LocalMedia, objects: Path, tmp_path: Path
    ) -> None:
        # given
        await media.write("real/a", blocks(b"secret"), content_type=MPEG_TS)
        outside = (objects / "real").rename(tmp_path / "outside")
        (objects / "link").symlink_to(outside)
        # then
        assert await media.stat(["link/a"]) == [None]
        with pytest.raises(Unavailable, match="symbolic link"):
            await media.write("link/b", blocks(b"x"), content_type=MPEG_TS)
        with pytest.raises(Unavailable, match="symbolic link"):
            await media.write("link/c/d", blocks(b"x"), content_type=MPEG_TS)
        await media.delete(["link/a"])
        assert files_below(outside) == ["a.object"]
        assert sorted(path.name for path in outside.iterdir()) == ["a.object"]

    async def test_a_pipe_is_not_waited_for(self, media: LocalMedia, objects: Path) -> None:
        os.mkfifo(objects / "a.object")
        async with asyncio.timeout(5):
            assert await media.stat(["a"]) == [None]

    async def test_a_folder_that_is_gone_is_unavailable(
        self, media: LocalMedia, objects: Path, tmp_path: Path
    ) -> None:
        (objects / ".drafts").rmdir()
        for call in (
            media.write("a", blocks(b"x"), content_type=MPEG_TS),
            media.check(),
        ):
            with pytest.raises(Unavailable) as failed:
                await call
            assert str(failed.value) == "the media folder cannot be read or written"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
    async def test_a_full_disk_says_so(
        self, media: LocalMedia, objects: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given: a name that leads every new draft to the device that is always full
        monkeypatch.setattr(
            "tams_gql.media._drafts.FileIO",
            lambda _path, _mode: open("/dev/full", "wb", buffering=0),  # noqa: PTH123, SIM115
        )
        # when
        with pytest.raises(Unavailable, match="the media folder is full"):
            await media.write("a", blocks(b"x"), content_type=MPEG_TS)
        # then
        assert files_below(objects) == []


class TestStart:
    async def test_objects_and_urls_survive_a_restart(self, tmp_path: Path) -> None:
        first = opened(tmp_path)
        await first.write("a", blocks(b"x"), content_type=MPEG_TS)
        [url] = first.sign_get(["a"], expires_in=60)
        second = opened(tmp_path)
        assert await content(second, "a") == b"x"
        query = url.partition("?")[2].encode()
        assert second.verify("GET", "a", query).key == "a"

    def test_only_old_drafts_are_removed(self, tmp_path: Path) -> None:
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

    def test_the_secret_is_for_its_owner_alone(self, tmp_path: Path) -> None:
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
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        opened(tmp_path)
        assert caplog.text == ""
        (tmp_path / "media" / "url-signing.secret").chmod(0o640)
        with caplog.at_level(logging.WARNING):
            opened(tmp_path)
        assert "may be read by other users (mode 640, not 600)" in caplog.text

    @pytest.mark.parametrize("size", [0, 31, 33])
    def test_a_broken_secret_stops_the_start(self, tmp_path: Path, size: int) -> None:
        opened(tmp_path)
        (tmp_path / "media" / "url-signing.secret").write_bytes(b"x" * size)
        with pytest.raises(BadInput, match=r"url-signing\.secret does not hold"):
            opened(tmp_path)

    def test_processes_that_start_together_share_one_secret(self, tmp_path: Path) -> None:
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

    def test_the_folder_may_be_a_link_itself(self, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "media").symlink_to(tmp_path / "disk")
        media = opened(tmp_path / "data")

        async def round_trip() -> bytes:
            await media.write("a/b", blocks(b"x"), content_type=MPEG_TS)
            return await content(media, "a/b")

        assert asyncio.run(round_trip()) == b"x"

    def test_a_backend_without_signed_urls_is_refused(self, tmp_path: Path) -> None:
        public = StorageBackend(id=BACKEND.id, label="public", presigned=False)
        with pytest.raises(BadInput, match="signed URLs only"):
            LocalMedia(tmp_path, backend=public, public_url="http://media.test")

    def test_the_public_url_may_have_a_path_and_a_slash(self, tmp_path: Path) -> None:
        media = LocalMedia(tmp_path, backend=BACKEND, public_url="https://media.test/tams/")
        [url] = media.sign_get(["a b"], expires_in=60)
        assert url.startswith("https://media.test/tams/media/a%20b?method=GET&expires=")

    def test_an_expiry_is_never_shorter_than_asked(self, tmp_path: Path) -> None:
        media = LocalMedia(
            tmp_path, backend=BACKEND, public_url="http://media.test", clock=lambda: 1_000.25
        )
        [url] = media.sign_get(["a"], expires_in=60)
        assert "&expires=1061&" in url
        assert datetime.fromtimestamp(1061, UTC) > datetime.fromtimestamp(1_060.25, UTC)
