"""What the local folder makes of files that it did not leave so."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tams_gql.media.local import LocalMedia
from tams_gql.model.errors import NotFound, Unavailable
from tests.media.folder import MPEG_TS, blocks, content, files_below, opened
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def media(tmp_path: Path) -> LocalMedia:
    return opened(tmp_path)


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    return tmp_path / "media" / "objects"


@pytest.mark.parametrize("kept", ["none", "some", "all but the last byte", "a foreign file"])
async def test_a_file_that_is_not_whole_is_no_object(
    media: LocalMedia, objects: Path, kept: str, caplog: pytest.LogCaptureFixture
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


async def test_lost_bytes_in_the_middle_are_noticed(media: LocalMedia, objects: Path) -> None:
    await media.write("a", blocks(b"x" * 1_000), content_type=MPEG_TS)
    file = objects / "a.object"
    file.write_bytes(file.read_bytes()[1:])
    assert await media.stat(["a"]) == [None]


@pytest.mark.parametrize("footer", [b"[1]", b"{}", b"\xff", b"{", b'{"size": 1}'])
async def test_a_footer_of_somebody_else_is_noticed(
    media: LocalMedia, objects: Path, footer: bytes
) -> None:
    end = len(footer).to_bytes(4, "big") + b"TAMSobj1"
    (objects / "a.object").write_bytes(b"data" + footer + end)
    assert await media.stat(["a"]) == [None]


async def test_a_file_without_the_mark_is_noticed(media: LocalMedia, objects: Path) -> None:
    await media.write("a", blocks(b"x"), content_type=MPEG_TS)
    file = objects / "a.object"
    file.write_bytes(file.read_bytes()[:-8] + b"TAMSobj2")
    assert await media.stat(["a"]) == [None]


async def test_a_link_to_a_file_is_not_followed(
    media: LocalMedia, objects: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
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
    media: LocalMedia, objects: Path, tmp_path: Path
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


async def test_a_file_where_a_folder_belongs_hides_only_what_is_below_it(
    media: LocalMedia, objects: Path
) -> None:
    # given
    await media.write("good", blocks(b"x"), content_type=MPEG_TS)
    (objects / "a").write_bytes(b"stray")
    # then
    [below, good] = await media.stat(["a/b/c", "good"])
    assert below is None
    assert good is not None
    await media.delete(["a/b", "a/b/c"])
    with pytest.raises(Unavailable):
        await media.write("a/b", blocks(b"x"), content_type=MPEG_TS)
    assert files_below(objects) == ["a", "good.object"]


async def test_a_pipe_is_not_waited_for(media: LocalMedia, objects: Path) -> None:
    os.mkfifo(objects / "a.object")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await media.stat(["a"]) == [None]


async def test_a_folder_that_is_gone_is_unavailable(
    media: LocalMedia, objects: Path, tmp_path: Path
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
    media: LocalMedia, objects: Path, monkeypatch: pytest.MonkeyPatch
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
