"""Playlists of real media over the server's URLs, as FFmpeg's HLS demuxer plays them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame

from tams_gql.ingest.api import Catalog as IngestCatalog
from tams_gql.ingest.codecs import Container
from tams_gql.ingest.files import ingest_file
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.progress import Silent
from tams_gql.ingest.transport import Transport
from tams_gql.model.time import NS, format_timestamp
from tests.catalog import Catalog
from tests.gql import Data
from tests.ingest.media_maker import Recipe, make
from tests.ingest.reading import FoundFrame, frames_of
from tests.seed import Seed

FLOW = """
query Flow($id: ID!, $window: TimeRange) {
  flow(id: $id) {
    timerange container
    hls(window: $window) { playlist segmentCount targetDuration omitted ended }
    segments {
      nodes {
        objectId timerange tsOffset objectTimerange
        getUrls { url }
        object { initObject { id getUrls { url } } }
      }
    }
  }
}
"""

# What the URLs end with says nothing, and FFmpeg is told so.
ANY_URL = {
    "protocol_whitelist": "file,http,tcp",
    "allowed_extensions": "ALL",
    "extension_picky": "0",
}
RATE = 25
FILM = Recipe(rate=Fraction(RATE), pictures=4 * RATE, gop=RATE)


@pytest.fixture
def seed(served: Catalog) -> Seed:
    return Seed(served.gql, served.http)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of pictures with B-frames, and sound."""
    return make(tmp_path_factory.mktemp("film") / "film.mp4", FILM)


class Player:
    """Plays what a flow's playlist says."""

    def __init__(self, catalog: Catalog, folder: Path) -> None:
        self._catalog = catalog
        self._folder = folder

    async def flow(self, flow_id: str, window: str | None = None) -> Data:
        found: Data = await self._catalog.gql.execute(FLOW, {"id": flow_id, "window": window})
        flow: Data = found["flow"]
        return flow

    async def play(self, flow: Data, index: int = 0) -> list[FoundFrame]:
        """The frames of one stream, as they come."""
        return await self._played(flow["hls"]["playlist"], index)

    async def play_sections(self, flow: Data) -> list[FoundFrame]:
        """The frames of the parts between discontinuities, each with a timeline of its own.

        So do players. FFmpeg does not, and of fragments it shows none that is earlier than what it
        had before.
        """
        header, *maps = flow["hls"]["playlist"].partition("#EXT-X-MAP")[::2]
        assert len(maps) == 1
        found = []
        for section in f"#EXT-X-MAP{maps[0]}".split("#EXT-X-DISCONTINUITY\n"):
            if section.startswith("#EXT-X-MAP"):
                current = section.partition("\n")[0]
            body = section.removeprefix(f"{current}\n")
            found += await self._played(f"{header}{current}\n{body}#EXT-X-ENDLIST\n", 0)
        return found

    async def _played(self, playlist: str, index: int) -> list[FoundFrame]:
        path = self._folder / "playlist.m3u8"
        path.write_text(playlist)
        return await asyncio.to_thread(lambda: list(played(path, index)))

    async def objects(self, flow: Data, index: int = 0) -> list[list[FoundFrame]]:
        """The frames of each segment's object, decoded by itself."""
        found = []
        for node in flow["segments"]["nodes"]:
            init = node["object"]["initObject"]
            urls = [node["getUrls"]] if init is None else [init["getUrls"], node["getUrls"]]
            bodies = [(await self._catalog.http.get(u[0]["url"])).content for u in urls]
            found.append(await asyncio.to_thread(frames_of, b"".join(bodies), index))
        return found


def played(path: Path, index: int) -> Iterator[FoundFrame]:
    with av.open(str(path), options=ANY_URL) as media:
        for frame in media.decode(media.streams[index]):
            assert isinstance(frame, VideoFrame | AudioFrame)
            assert frame.pts is not None
            pts = frame.pts * Fraction(frame.time_base or 0)
            yield FoundFrame(pts, frame.to_ndarray().tobytes())


@pytest.fixture
def player(served: Catalog, tmp_path: Path) -> Player:
    return Player(served, tmp_path)


async def ingest(catalog: Catalog, path: Path, container: Container) -> tuple[str, str]:
    """The flows of a file's pictures and sound, in segments of one second."""
    options = IngestOptions(duration=Fraction(1), container=container)

    def work() -> tuple[str, str]:
        with Transport(catalog.settings.public_url) as transport:
            outcome = ingest_file(IngestCatalog(transport), path, options, Silent())
        video, audio, *_ = outcome.flow_ids
        return video, audio

    return await asyncio.to_thread(work)


def contents(frames: list[FoundFrame]) -> list[bytes]:
    return [frame.content for frame in frames]


def joined(objects: list[list[FoundFrame]], *numbers: int) -> list[bytes]:
    """The pictures of some objects, one after the other."""
    return [frame.content for number in numbers for frame in objects[number]]


@pytest.mark.parametrize("container", ["ts", "fmp4"])
async def test_every_picture_is_played_once_and_at_its_time(
    served: Catalog, player: Player, film: Path, container: Container
) -> None:
    video, audio = await ingest(served, film, container)
    # the pictures
    flow = await player.flow(video)
    frames = await player.play(flow)
    assert (flow["hls"]["segmentCount"], flow["hls"]["targetDuration"]) == (4, 1)
    assert contents(frames) == joined(await player.objects(flow), 0, 1, 2, 3)
    start = frames[0].pts
    assert [frame.pts - start for frame in frames] == [Fraction(n, RATE) for n in range(4 * RATE)]
    assert flow["hls"]["playlist"].count("#EXT-X-MAP") == (container == "fmp4")
    assert "DISCONTINUITY" not in flow["hls"]["playlist"]
    # the pictures of a window
    flow = await player.flow(video, "[1:500000000_2:500000000)")
    assert contents(await player.play(flow)) == joined(await player.objects(flow), 1, 2)
    # the sound, whose first object has the encoder's run-in
    flow = await player.flow(audio)
    assert flow["hls"]["omitted"] == []
    assert "DISCONTINUITY" not in flow["hls"]["playlist"]
    sound = await player.play(flow)
    assert len(sound) == sum(map(len, await player.objects(flow)))
    steps = {b.pts - a.pts for a, b in pairwise(sound)}
    assert {round(step * 48_000) for step in steps} == {1024}


@pytest.mark.parametrize("container", ["ts", "fmp4"])
async def test_objects_used_again_in_another_order_are_played_in_that_order(
    served: Catalog, seed: Seed, player: Player, film: Path, container: Container
) -> None:
    # given a flow that shows the second, fourth, first and first second of the film
    video, _ = await ingest(served, film, container)
    original = await player.flow(video)
    nodes = original["segments"]["nodes"]
    essence = {"frameWidth": 128, "frameHeight": 72, "frameRate": {"numerator": RATE}}
    edit = await seed.flow(
        "video",
        container=original["container"],
        essenceParameters={**essence, "initSegments": container == "fmp4"},
    )
    order, starts = (1, 3, 0, 0), (0, 1, 5, 6)
    await seed.register(edit, [
        {
            "objectId": nodes[number]["objectId"],
            "timerange": f"[{start}:0_{start + 1}:0)",
            "tsOffset": format_timestamp((start - 1 - number) * NS),
        }
        for number, start in zip(order, starts, strict=True)
    ])  # fmt: skip
    # when
    flow = await player.flow(edit)
    frames = await (player.play(flow) if container == "ts" else player.play_sections(flow))
    # then
    assert flow["hls"]["playlist"].count("#EXT-X-DISCONTINUITY\n") == 3
    assert flow["hls"]["omitted"] == []
    assert contents(frames) == joined(await player.objects(original), *order)
    assert len(frames) == 4 * RATE


async def test_another_initialisation_of_the_same_media_is_taken(
    served: Catalog, seed: Seed, player: Player, film: Path, tmp_path: Path
) -> None:
    # given a flow of objects of two others, each with an initialisation object of its own
    longer = make(tmp_path / "longer.mp4", FILM.but(pictures=5 * RATE))
    flows = [await player.flow((await ingest(served, path, "fmp4"))[0]) for path in (film, longer)]
    inits = {flow["segments"]["nodes"][0]["object"]["initObject"]["id"] for flow in flows}
    assert len(inits) == 2
    essence = {"frameWidth": 128, "frameHeight": 72, "frameRate": {"numerator": RATE}}
    edit = await seed.flow(
        "video",
        container="video/iso.segment",
        essenceParameters={**essence, "initSegments": True},
    )
    items = [
        {
            "objectId": flows[number % 2]["segments"]["nodes"][number]["objectId"],
            "timerange": f"[{number}:0_{number + 1}:0)",
            "tsOffset": "-1:0",
        }
        for number in range(4)
    ]
    await seed.register(edit, items)
    # when, then
    flow = await player.flow(edit)
    assert flow["hls"]["playlist"].count("#EXT-X-MAP") == 4
    assert flow["hls"]["playlist"].count("#EXT-X-DISCONTINUITY\n") == 3
    assert contents(await player.play(flow)) == joined(await player.objects(flow), 0, 1, 2, 3)


async def test_a_multiplex_has_all_its_streams(seed: Seed, player: Player, tmp_path: Path) -> None:
    # given
    parts = [make(tmp_path / f"{n}.ts", FILM.but(pictures=RATE, format="mpegts")) for n in range(2)]
    flow_id = await seed.flow("multi")
    objects = await seed.objects(flow_id, *[part.read_bytes() for part in parts])
    items = [
        {"objectId": id, "timerange": f"[{n}:0_{n + 1}:0)", "tsOffset": f"{n}:0"}
        for n, id in enumerate(objects)
    ]
    await seed.register(flow_id, items)
    # when, then
    flow = await player.flow(flow_id)
    for index, least in ((0, 2 * RATE), (1, 2 * 46)):
        frames = await player.play(flow, index)
        assert len(frames) == sum(map(len, await player.objects(flow, index)))
        assert len(frames) >= least


async def test_aac_is_played_as_it_is(
    seed: Seed, player: Player, film: Path, tmp_path: Path
) -> None:
    # given
    parts = adts_parts(film, tmp_path, 60)
    flow_id = await seed.flow("audio", container="audio/aac")
    objects = await seed.objects(flow_id, *[path.read_bytes() for path, _ in parts])
    start, items = 0, []
    for id, (_, count) in zip(objects, parts, strict=True):
        end = start + count * 1024 * NS // 48_000
        offset = format_timestamp(start)
        timerange = f"[{format_timestamp(start)}_{format_timestamp(end)})"
        items.append({"objectId": id, "timerange": timerange, "tsOffset": offset})
        start = end
    await seed.register(flow_id, items)
    # when
    flow = await player.flow(flow_id)
    frames = await player.play(flow)
    # then
    assert len(parts) == 4
    assert flow["hls"]["segmentCount"] == 4
    assert len(frames) == sum(count for _, count in parts)


def adts_parts(source: Path, folder: Path, size: int) -> list[tuple[Path, int]]:
    """The sound of a file in ADTS, so many frames a part; with the number of frames."""
    with av.open(str(source)) as media:
        stream = next(s for s in media.streams if isinstance(s, AudioStream))
        packets = [packet for packet in media.demux(stream) if packet.size]
        parts = [packets[at : at + size] for at in range(0, len(packets), size)]
        return [
            (write_adts(folder / f"{n}.aac", stream, part), len(part))
            for n, part in enumerate(parts)
        ]


def write_adts(path: Path, template: AudioStream, packets: list[Packet[AudioStream]]) -> Path:
    with av.open(str(path), "w", format="adts") as output:
        stream = output.add_stream_from_template(template, opaque=True)
        for packet in packets:
            packet.stream = stream
            output.mux_one(packet)
    return path
