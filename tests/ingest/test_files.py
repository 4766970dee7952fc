"""Ingesting a file into a catalog: what is stored, and what a second run finds."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import pytest
from graphql import GraphQLError

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.files import Outcome, ingest_file
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.progress import Silent
from tams_gql.ingest.transport import Transport
from tams_gql.model.errors import BadInput, Conflict, Unavailable
from tams_gql.model.time import TimeRange, parse_timestamp
from tests.ingest.catalog_server import FakeCatalog, fail_nth, refused
from tests.ingest.conftest import QUICK
from tests.ingest.reading import frames_of, packets_of

SECOND = IngestOptions(duration=Fraction(1))
FMP4 = IngestOptions(duration=Fraction(1), container="fmp4")


class Record(Silent):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int | None]] = []
        self.segments = 0
        self.notes: list[str] = []

    def begin(self, title: str, total: int | None) -> None:
        self.begun.append((title, total))

    def stored(self, segments: int, size: int) -> None:
        self.segments += segments

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(fake: FakeCatalog, path: Path, options: IngestOptions = SECOND) -> Outcome:
    """One run of the program: a connection of its own."""
    with Transport(fake.url, retry=QUICK) as transport:
        return ingest_file(Catalog(transport), path, options, Record())


def spans(fake: FakeCatalog, flow_id: str) -> list[str]:
    return [segment["timerange"] for segment in fake.segments(flow_id)]


def test_a_file_becomes_a_flow_a_stream_and_a_multi_flow(
    fake: FakeCatalog, catalog: Catalog, media: Callable[[str], Path]
) -> None:
    path, record = media("b-frames.mp4"), Record()
    outcome = ingest_file(catalog, path, SECOND, record)
    [video], [audio], [multi] = (fake.of_kind(kind) for kind in ("video", "audio", "multi"))

    assert outcome == Outcome(8, 0, [video["id"], audio["id"], multi["id"]])
    assert record.begun == [(str(path), 8)]
    assert record.segments == 8
    origin = [
        {"name": "ingested_by", "values": ["tams-gql"]},
        {"name": "file_name", "values": ["b-frames.mp4"]},
    ]
    assert {key: video[key] for key in ("label", "codec", "container", "status", "tags")} == {
        "label": "b-frames (video)",
        "codec": "video/h264",
        "container": "video/mp2t",
        "status": "CLOSED_COMPLETE",
        "tags": origin,
    }
    assert video["segmentDuration"] == {"numerator": 1, "denominator": 1}
    assert video["essenceParameters"] == {
        "frameWidth": 128,
        "frameHeight": 72,
        "frameRate": {"numerator": 25, "denominator": 1},
        "bitDepth": 8,
        "interlaceMode": "PROGRESSIVE",
        "aspectRatio": {"numerator": 16, "denominator": 9},
        "pixelAspectRatio": {"numerator": 1, "denominator": 1},
        "componentType": "YCBCR",
        "horizChromaSubs": 2,
        "vertChromaSubs": 2,
        "avcParameters": {"profile": 77, "level": 10, "flags": 64},
    }
    assert audio["codec"] == "audio/aac"
    assert audio["essenceParameters"] == {
        "sampleRate": 48_000,
        "channels": 2,
        "codecParameters": {"codedFrameSize": 1024, "mp4Oti": 2},
    }
    assert multi["label"] == "b-frames"
    assert multi.get("container") is None
    assert multi["collection"] == [
        {"flowId": video["id"], "role": "video"},
        {"flowId": audio["id"], "role": "audio"},
    ]
    assert multi["status"] == "CLOSED_COMPLETE"
    assert spans(fake, video["id"]) == ["[0:0_1:0)", "[1:0_2:0)", "[2:0_3:0)", "[3:0_4:0)"]
    assert spans(fake, multi["id"]) == []


@pytest.mark.parametrize("options", [SECOND, FMP4])
def test_the_stored_objects_are_the_film(
    options: IngestOptions, fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    path = media("ntsc.mp4")
    outcome = run(fake, path, options)
    segments = fake.segments(outcome.flow_ids[0])
    frames = []
    for segment in segments:
        content, offset = fake.content(segment), parse_timestamp(segment["tsOffset"])
        span = TimeRange.parse(segment["timerange"])
        first = packets_of(content)[0].pts * 1_000_000_000 + offset
        assert abs(first - span.start_ns) < 1
        frames += frames_of(content)
    assert [f.content for f in frames] == [f.content for f in frames_of(path)]


def test_bit_rates_are_those_of_the_stored_segments(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    outcome = run(fake, media("b-frames.mp4"))
    flow = fake.flows[outcome.flow_ids[0]]
    sizes = [len(fake.content(segment)) for segment in fake.segments(flow["id"])]
    assert flow["avgBitRate"] == sum(sizes) * 8 // 4_000
    assert flow["maxBitRate"] == max(sizes) * 8 // 1_000


def test_an_initialisation_segment_is_stored_once_for_a_flow(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    outcome = run(fake, media("b-frames.mp4"), FMP4)
    types = []
    for flow_id in outcome.flow_ids[:2]:
        assert fake.flows[flow_id]["container"] == "video/iso.segment"
        assert fake.flows[flow_id]["essenceParameters"]["initSegments"] is True
        [init] = {segment["initObjectId"] for segment in fake.segments(flow_id)}
        types.append(fake.allocated[init][1])
    assert types == ["video/mp4", "audio/mp4"]
    assert fake.uploads == 10


@pytest.mark.parametrize("options", [SECOND, FMP4])
def test_a_second_run_changes_nothing(
    options: IngestOptions, fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    first = run(fake, media("b-frames.mp4"), options)
    uploads, calls = fake.uploads, dict(fake.calls)
    second = run(fake, media("b-frames.mp4"), options)
    assert second == Outcome(0, 8, first.flow_ids)
    assert fake.uploads == uploads
    added = {name for name, count in fake.calls.items() if count != calls.get(name)}
    assert added == {"IngestFlow", "IngestSegments"}


def test_a_copy_under_another_name_is_the_same_content(
    fake: FakeCatalog, media: Callable[[str], Path], tmp_path: Path
) -> None:
    path = media("b-frames.mp4")
    (tmp_path / "copy.mov").write_bytes(path.read_bytes())
    assert run(fake, path).flow_ids == run(fake, tmp_path / "copy.mov").flow_ids


def test_container_and_duration_make_other_flows_of_the_same_sources(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    path = media("b-frames.mp4")
    runs = [run(fake, path, o) for o in (SECOND, FMP4, IngestOptions(duration=Fraction(2)))]
    ids = [flow_id for outcome in runs for flow_id in outcome.flow_ids]
    assert len(set(ids)) == 9
    assert len({fake.flows[flow_id]["sourceId"] for flow_id in ids}) == 3
    elsewhere = run(fake, path, IngestOptions(duration=Fraction(1), start_ns=10**12))
    assert not {fake.flows[f]["sourceId"] for f in elsewhere.flow_ids} & {
        fake.flows[flow_id]["sourceId"] for flow_id in ids
    }


@pytest.mark.parametrize("options", [SECOND, FMP4])
@pytest.mark.parametrize("stage", ["PUT", "IngestRegister", "IngestPatchFlow", "IngestPutFlow"])
@pytest.mark.parametrize("number", [1, 3])
def test_an_interrupted_run_is_completed_by_the_next(
    stage: str, number: int, options: IngestOptions, fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    path = media("b-frames.mp4")
    fake.fail = fail_nth(stage, number, status=400)
    if (stage, number) == ("IngestRegister", 3):
        assert run(fake, path, options).stored == 8  # two flows are registered in two calls
    else:
        with pytest.raises(BadInput):
            run(fake, path, options)
    fake.fail = lambda _: None
    again = run(fake, path, options)
    assert again.stored + again.known == 8
    video, audio, multi = (fake.flows[flow_id] for flow_id in again.flow_ids)
    assert len(spans(fake, video["id"])) == len(spans(fake, audio["id"])) == 4
    assert {flow["status"] for flow in (video, audio, multi)} == {"CLOSED_COMPLETE"}
    registered = sum(len(fake.segments(flow_id)) for flow_id in fake.flows)
    assert registered == 8
    objects = [s["objectId"] for flow_id in fake.flows for s in fake.segments(flow_id)]
    assert len(set(objects)) == 8
    for flow_id in again.flow_ids[:2]:
        inits = {segment.get("initObjectId") for segment in fake.segments(flow_id)}
        assert len(inits) == 1  # the object of the first run serves the second


def test_segments_deleted_meanwhile_are_stored_again(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    first = run(fake, media("b-frames.mp4"))
    del fake.stored[first.flow_ids[0]][1:3]
    assert run(fake, media("b-frames.mp4")) == Outcome(2, 6, first.flow_ids)
    assert len(spans(fake, first.flow_ids[0])) == 4


@pytest.mark.parametrize("operation", ["PUT", "IngestRegister", "IngestAllocate", "IngestFlow"])
def test_a_server_that_is_away_for_a_moment_is_waited_for(
    operation: str, fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    fake.fail = fail_nth(operation, 1, 2)
    assert run(fake, media("b-frames.mp4")).stored == 8
    assert fake.fail(operation) is None


def test_the_code_unavailable_is_tried_again_and_others_are_not(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    answers: list[GraphQLError | None] = [refused("UNAVAILABLE", "the store is busy"), None]
    fake.fail = lambda name: answers.pop(0) if name == "IngestRegister" and answers else None
    assert run(fake, media("b-frames.mp4")).stored == 8
    fake.stored.clear()
    fake.flows.clear()
    fake.calls.clear()
    fake.fail = lambda name: refused("BAD_USER_INPUT", "no") if name == "IngestPutFlow" else None
    with pytest.raises(BadInput, match=r"^no$"):
        run(fake, media("b-frames.mp4"))
    assert fake.calls["IngestPutFlow"] == 1


def test_a_server_that_stays_away_ends_the_run(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    fake.fail = lambda name: 503 if name == "PUT" else None
    with pytest.raises(Unavailable) as caught:
        run(fake, media("b-frames.mp4"))
    assert caught.value.message.startswith("upload to http://127.0.0.1:")
    assert "signature" not in caught.value.message
    assert all(not fake.segments(flow_id) for flow_id in fake.flows)


def test_a_lost_answer_does_not_register_twice(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    lost = iter([True])
    fake.lose = lambda name: name == "IngestRegister" and next(lost, False)
    assert run(fake, media("b-frames.mp4")).stored == 8
    assert fake.calls["IngestRegister"] == 3
    assert sum(len(fake.segments(flow_id)) for flow_id in fake.flows) == 8


def test_a_segment_of_someone_else_in_the_way_is_a_conflict(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    first = run(fake, media("b-frames.mp4"))
    flow_id = first.flow_ids[0]
    fake.stored[flow_id][1].given["timerange"] = "[1:500000000_2:500000000)"
    del fake.stored[flow_id][2]
    with pytest.raises(Conflict, match="overlaps"):
        run(fake, media("b-frames.mp4"))


def test_expired_upload_urls_are_replaced(fake: FakeCatalog, media: Callable[[str], Path]) -> None:
    def expire(name: str) -> None:
        if name == "PUT" and fake.uploads == 2:
            fake.signature = 2

    fake.fail = expire
    assert run(fake, media("b-frames.mp4")).stored == 8
    assert fake.signature == 2


def test_uploads_run_side_by_side_but_no_more_than_asked(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    fake.delay = 0.02
    run(fake, media("ntsc.mp4"), IngestOptions(duration=Fraction(1), concurrency=3))
    assert 2 <= fake.busiest <= 3


def test_storage_is_allocated_and_segments_registered_in_batches(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    outcome = run(
        fake, media("sound.wav"), IngestOptions(duration=Fraction(1, 10), container="fmp4")
    )
    assert outcome.stored >= 30
    assert fake.calls["IngestAllocate"] == 3  # the initialisation segment, 20, and the rest
    assert len(fake.allocated) == outcome.stored + 1
    assert fake.batches == [outcome.stored]


def test_a_flow_that_holds_something_else_is_not_touched(
    fake: FakeCatalog, media: Callable[[str], Path]
) -> None:
    first = run(fake, media("b-frames.mp4"))
    fake.flows[first.flow_ids[0]]["codec"] = "video/h265"
    with pytest.raises(Conflict, match=r"exists with video/h265 in video/mp2t, not video/h264"):
        run(fake, media("b-frames.mp4"))


def test_labels_and_namespaces(fake: FakeCatalog, media: Callable[[str], Path]) -> None:
    plain = run(fake, media("sound.m4a"))
    other = IngestOptions(label="Interview", duration=Fraction(1), namespace=UUID(int=5))
    labelled = run(fake, media("sound.m4a"), other)
    assert plain.flow_ids != labelled.flow_ids
    assert len(labelled.flow_ids) == 1  # one stream needs no multi flow
    assert fake.flows[labelled.flow_ids[0]]["label"] == "Interview (audio)"
