"""A catalog to ingest into, and media made once for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.transport import Retry, Transport
from tests.ingest.catalog_server import FakeCatalog, running_catalog
from tests.ingest.media_maker import Recipe, make

QUICK = Retry(attempts=4, first_seconds=0.001, longest_seconds=0.002)

RECIPES = {
    "b-frames.mp4": Recipe(),
    "ntsc.mp4": Recipe(rate=Fraction(30000, 1001), pictures=150, gop=30),
    "film.ts": Recipe(rate=Fraction(24000, 1001), pictures=100, gop=24, sample_rate=44_100),
    "open-gop.ts": Recipe(
        pictures=162,
        b_frames=3,
        gop=27,
        closed=54,
        codec_options={
            "preset": "medium",
            "forced-idr": "1",
            "x264-params": "open-gop=1:scenecut=0:keyint=27:min-keyint=1:b-adapt=0",
        },
    ),
    "variable.mp4": Recipe(pts=[n * 40 + (n * n * 7) % 31 for n in range(100)], b_frames=0),
    "variable.mkv": Recipe(pts=[n * 40 + (n * n * 7) % 31 for n in range(100)], b_frames=0),
    "matroska.mkv": Recipe(rate=Fraction(30000, 1001), pictures=90, gop=30, sample_rate=44_100),
    "hevc.mp4": Recipe(video="libx265", audio="ac3"),
    "mpeg2.ts": Recipe(video="mpeg2video", audio="mp2", gop=12),
    "sound.wav": Recipe(video=None, audio="pcm_s16le"),
    "sound.m4a": Recipe(video=None, format="mp4"),
}


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a recipe by its name, encoded at its first use."""
    folder = tmp_path_factory.mktemp("media")

    def get(name: str) -> Path:
        path = folder / name
        return path if path.exists() else make(path, RECIPES[name])

    return get


@pytest.fixture
def fake() -> Iterator[FakeCatalog]:
    with running_catalog() as catalog:
        yield catalog


@pytest.fixture
def server_url(fake: FakeCatalog) -> str:
    """Where tests that need no look inside find a catalog."""
    return fake.url


@pytest.fixture
def catalog(server_url: str) -> Iterator[Catalog]:
    with Transport(server_url, retry=QUICK) as transport:
        yield Catalog(transport)
