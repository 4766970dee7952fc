"""Ingest into the real server: its rules accept what is sent, and its URLs give the film back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.codecs import Container
from tams_gql.ingest.files import Outcome, ingest_file
from tams_gql.ingest.hls import ingest_hls
from tams_gql.ingest.live import LiveOptions, live_flows, run_live
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.transport import Transport
from tams_gql.model.errors import BadInput
from tams_gql.model.time import NS
from tests.catalog import quick_settings, serving
from tests.ingest.media_maker import make_hls
from tests.ingest.reading import frames_of, joined
from tests.ingest.test_files import Record
from tests.ingest.test_live import NOON, JumpingClock

FLOW = """
query Flow($id: ID!) {
  flow(id: $id) {
    label status codec container timerange
    source { id }
    collection { role flow { id } }
    segments(first: 100) {
      nodes {
        timerange tsOffset keyFrameCount
        getUrls { url }
        object { size contentType initObject { getUrls { url } } }
      }
    }
  }
}
"""


class Server:
    """The server, and what a reader sees of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(trust_env=False)

    async def run(self, work: Callable[[Catalog], Outcome]) -> Outcome:
        """Ingest from a thread, as another program would."""

        def connected() -> Outcome:
            with Transport(self.url) as transport:
                return work(Catalog(transport))

        return await asyncio.to_thread(connected)

    async def flow(self, flow_id: str) -> dict[str, Any]:
        body = {"query": FLOW, "variables": {"id": flow_id}}
        answer = (await self._http.post(f"{self.url}/graphql", json=body)).json()
        assert "errors" not in answer
        found: dict[str, Any] = answer["data"]["flow"]
        return found

    async def contents(self, flow: dict[str, Any]) -> list[bytes]:
        """The flow's objects, as the URLs give them."""
        return [await self._get(node["getUrls"]) for node in flow["segments"]["nodes"]]

    async def initialisation(self, flow: dict[str, Any]) -> bytes:
        """What a reader needs before the first segment."""
        init = flow["segments"]["nodes"][0]["object"]["initObject"]
        return await self._get(init["getUrls"]) if init else b""

    async def _get(self, urls: list[dict[str, str]]) -> bytes:
        response = await self._http.get(urls[0]["url"])
        assert response.status_code == 200
        return response.content

    async def close(self) -> None:
        await self._http.aclose()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(quick_settings(tmp_path / "data")) as running:
        found = Server(running.settings.public_url)
        yield found
        await found.close()


@pytest.mark.parametrize("container", ["ts", "fmp4"])
async def test_a_file(container: Container, server: Server, media: Callable[[str], Path]) -> None:
    path = media("ntsc.mp4")
    options = IngestOptions(duration=Fraction(1), container=container)
    outcome = await server.run(lambda catalog: ingest_file(catalog, path, options, Record()))
    assert outcome.stored == 10
    video, audio, multi = [await server.flow(flow_id) for flow_id in outcome.flow_ids]
    assert [f["status"] for f in (video, audio, multi)] == ["CLOSED_COMPLETE"] * 3
    assert video["timerange"] == "[0:0_5:5000000)"
    assert [member["flow"]["id"] for member in multi["collection"]] == outcome.flow_ids[:2]
    contents = await server.contents(video)
    sizes = [int(node["object"]["size"]) for node in video["segments"]["nodes"]]
    assert sizes == [len(content) for content in contents]
    whole = await server.initialisation(video) + joined(contents)
    assert [f.content for f in frames_of(whole)] == [f.content for f in frames_of(path)]

    again = await server.run(lambda catalog: ingest_file(catalog, path, options, Record()))
    assert again == Outcome(0, 10, outcome.flow_ids)


async def test_why_an_upload_is_refused(tmp_path: Path, media: Callable[[str], Path]) -> None:
    settings = quick_settings(tmp_path / "data", max_object_bytes=1_000)
    async with serving(settings) as running:
        server = Server(running.settings.public_url)
        path = media("sound.m4a")
        with pytest.raises(BadInput, match=r"^upload to http://\S+ answered 413: .*1,?000"):
            await server.run(lambda c: ingest_file(c, path, IngestOptions(), Record()))
        await server.close()


@pytest.mark.parametrize("kind", ["mpegts", "fmp4"])
async def test_hls(kind: str, server: Server, media: Callable[[str], Path], tmp_path: Path) -> None:
    index = make_hls(media("ntsc.mp4"), tmp_path / "h", {"hls_segment_type": kind})

    def store(catalog: Catalog) -> Outcome:
        return ingest_hls(catalog, str(index), IngestOptions(), Record())

    outcome = await server.run(store)
    assert outcome.stored == 5
    multi = await server.flow(outcome.flow_ids[-1])
    assert multi["timerange"] == "[0:0_5:5000000)"
    assert [member["role"] for member in multi["collection"]] == ["video", "audio"]
    whole = await server.initialisation(multi) + joined(await server.contents(multi))
    expected = [f.content for f in frames_of(media("ntsc.mp4"))]
    assert [f.content for f in frames_of(whole)] == expected
    assert await server.run(store) == Outcome(0, 5, outcome.flow_ids)


async def test_a_live_window(server: Server) -> None:
    options, live = IngestOptions(), LiveOptions(window_ns=5 * NS)

    def play(catalog: Catalog) -> Outcome:
        record = Record()
        run_live(catalog, options, live, record, JumpingClock(NOON * NS, (NOON + 9) * NS))
        return Outcome(record.segments, 0, [spec.id for spec in live_flows(options, live)])

    outcome = await server.run(play)
    assert outcome.stored == 8
    video = await server.flow(outcome.flow_ids[0])
    assert video["status"] == "INGESTING"
    assert [node["timerange"] for node in video["segments"]["nodes"]] == [
        f"[{NOON + n}:0_{NOON + n + 2}:0)" for n in (2, 4, 6)
    ]
