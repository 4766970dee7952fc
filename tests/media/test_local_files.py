"""Which file holds which object, and what a reader of it sees."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tams_gql.media._files import file_name
from tams_gql.media.keys import MAX_KEY_BYTES
from tams_gql.media.local import LocalMedia
from tams_gql.media.port import MAX_CONTENT_TYPE_CHARS
from tams_gql.model.errors import NotFound
from tests.media.folder import MPEG_TS, blocks, content, files_below, opened


@pytest.fixture
def media(tmp_path: Path) -> LocalMedia:
    return opened(tmp_path)


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    return tmp_path / "media" / "objects"


async def test_the_layout_stays_readable(media: LocalMedia, objects: Path) -> None:
    await media.write("2026/03/04/12/846023d3-612d", blocks(b"x"), content_type=MPEG_TS)
    assert files_below(objects) == ["2026/03/04/12/846023d3-612d.object"]


async def test_the_bytes_come_first_in_the_file(media: LocalMedia, objects: Path) -> None:
    await media.write("a", blocks(b"media ", b"bytes"), content_type=MPEG_TS)
    data = (objects / "a.object").read_bytes()
    assert data.startswith(b"media bytes{")
    assert json.loads(data[len(b"media bytes") : -12]) == {
        "key": "a",
        "content_type": MPEG_TS,
        "size": 11,
        "sha256": hashlib.sha256(b"media bytes").hexdigest(),
    }


async def test_the_longest_key_and_type_fit(media: LocalMedia) -> None:
    key = "\U0001f3ac" * (MAX_KEY_BYTES // 4)
    content_type = "video/" + "x" * (MAX_CONTENT_TYPE_CHARS - 6)
    await media.write(key, blocks(b"x" * 5_000), content_type=content_type)
    [found] = await media.stat([key])
    assert found is not None
    assert (found.size, found.content_type) == (5_000, content_type)


async def test_an_object_and_a_folder_may_have_the_same_name(media: LocalMedia) -> None:
    for key in ("a", "a/b", "a.object", "a.object/b", "A", ".drafts", ".drafts/x"):
        await media.write(key, blocks(key.encode()), content_type=MPEG_TS)
    for key in ("a", "a/b", "a.object", "a.object/b", "A", ".drafts", ".drafts/x"):
        assert await content(media, key) == key.encode()


@given(st.text(min_size=1, max_size=300))
def test_a_file_name_is_safe_on_any_file_system(segment: str) -> None:
    name = file_name(segment.encode("utf-8", "replace").decode())
    assert name.isascii()
    assert name == name.lower()
    assert 1 <= len(name) <= 200
    assert not set(name) & set('./\\:*?"<>| \x00')


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_different_names_stay_different(one: str, other: str) -> None:
    assume(one != other)
    assert file_name(one) != file_name(other)


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(["x", "ü", "X"]))
def test_long_names_stay_different_too(one: str, other: str, letter: str) -> None:
    assume(one != other)
    assert file_name(letter * 250 + one) != file_name(letter * 250 + other)


async def test_a_reader_keeps_the_version_it_opened(media: LocalMedia) -> None:
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
