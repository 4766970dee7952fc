"""Playlists of flows: their exact text, what is left out of them, their limits and their cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from tams_gql.model.ids import new_id
from tams_gql.model.time import NS
from tams_gql.resolvers import hls
from tams_gql.resolvers.hls_playlist import Entry, playlist_text, target_duration
from tests.catalog import Catalog, quick_settings, running
from tests.gql import Data, GraphQL, refusal
from tests.recording import watched
from tests.seed import Seed, seconds

HLS = """
query Hls(
  $id: ID!, $window: TimeRange, $maxSegments: Int! = 1000, $labels: [String!],
  $expiresIn: Int, $clockAtZero: DateTime
) {
  flow(id: $id) {
    hls(
      window: $window, maxSegments: $maxSegments, labels: $labels, expiresIn: $expiresIn
      clockAtZero: $clockAtZero
    ) { playlist contentType targetDuration segmentCount timerange omitted ended expires }
  }
}
"""


async def manifest(gql: GraphQL, flow_id: str, **arguments: object) -> Data:
    found: Data = (await gql.execute(HLS, {"id": flow_id, **arguments}))["flow"]["hls"]
    return found


def item(name: str, timerange: str, **fields: object) -> Data:
    """A segment whose object lies elsewhere, under a name."""
    url = {"url": f"https://media.example.com/{name}.ts?a=1", "label": "elsewhere"}
    return {"objectId": name, "timerange": timerange, "getUrls": [url], **fields}


def lines(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


def head(target: int, kind: str = "VOD", version: int = 3) -> list[str]:
    return [
        "#EXTM3U",
        f"#EXT-X-VERSION:{version}",
        f"#EXT-X-TARGETDURATION:{target}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        f"#EXT-X-PLAYLIST-TYPE:{kind}",
    ]


def part(extinf: str, name: str) -> list[str]:
    return [f"#EXTINF:{extinf},", f"https://media.example.com/{name}.ts?a=1"]


async def test_segments_that_go_on_are_one_after_the_other_to_the_nanosecond(
    gql: GraphQL, seed: Seed
) -> None:
    flow_id = await seed.flow("video")
    items = [
        item("a", "[-1:0_1:1000000)"),
        item("b", "[1:1000000_3:501000001)", tsOffset="0:0"),
        # Containers round their times; so small a step is none.
        item("c", "[3:501900001_4:0)"),
    ]
    await seed.register(flow_id, items)
    assert await manifest(gql, flow_id) == {
        "playlist": lines(
            *head(3),
            *part("2.001", "a"),
            *part("2.500000001", "b"),
            *part("0.498099999", "c"),
            "#EXT-X-ENDLIST",
        ),
        "contentType": "application/vnd.apple.mpegurl",
        "targetDuration": 3,
        "segmentCount": 3,
        "timerange": "[-1:0_4:0)",
        "omitted": [],
        "ended": True,
        "expires": None,
    }


async def test_gaps_and_jumps_of_the_media_time_are_discontinuities(
    gql: GraphQL, seed: Seed
) -> None:
    flow_id = await seed.flow("video")
    items = [
        item("a", "[0:0_2:0)", tsOffset="-10:0"),
        item("b", "[2:0_4:0)", tsOffset="-10:0"),
        item("gap", "[5:0_7:0)", tsOffset="-10:0"),
        item("jump", "[7:0_9:0)", tsOffset="-20:0"),
        {"objectId": "a", "timerange": "[9:0_11:0)", "tsOffset": "-1:0"},
        {"objectId": "a", "timerange": "[11:0_13:0)", "tsOffset": "1:0"},
        item("gap and jump", "[20:0_22:0)", tsOffset="8:0"),
    ]
    items[-1]["getUrls"][0]["url"] = "https://media.example.com/both.ts?a=1"
    await seed.register(flow_id, items)
    found = await manifest(gql, flow_id, clockAtZero="2026-01-01T00:00:00.25Z")
    date = "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00"
    assert found["playlist"] == lines(
        *head(2),
        f"{date}:00.250Z",
        *part("2.0", "a"),
        *part("2.0", "b"),
        *("#EXT-X-DISCONTINUITY", f"{date}:05.250Z"),
        *part("2.0", "gap"),
        *("#EXT-X-DISCONTINUITY", f"{date}:07.250Z"),
        *part("2.0", "jump"),
        *("#EXT-X-DISCONTINUITY", f"{date}:09.250Z"),
        *part("2.0", "a"),
        *("#EXT-X-DISCONTINUITY", f"{date}:11.250Z"),
        *part("2.0", "a"),
        *("#EXT-X-DISCONTINUITY", f"{date}:20.250Z"),
        *part("2.0", "both"),
        "#EXT-X-ENDLIST",
    )


async def test_parts_of_objects_and_objects_without_url_are_left_out_and_told(
    gql: GraphQL, seed: Seed
) -> None:
    flow_id = await seed.flow("video")
    whole = {"objectTimerange": "[0:0_10:0)"}
    items = [
        item("a", "[0:0_10:0)", **whole),
        {"objectId": "a", "timerange": "[10:0_19:899999999)", "tsOffset": "10:0"},
        {"objectId": "a", "timerange": "[20:0_29:900000000)", "tsOffset": "20:0"},
        {"objectId": "a", "timerange": "[30:100000000_40:0)", "tsOffset": "30:0"},
        {"objectId": "a", "timerange": "[40:100000001_50:0)", "tsOffset": "40:0"},
        {"objectId": "a", "timerange": "[54:0_56:0)", "tsOffset": "50:0"},
        item("counted", "[60:0_70:0)", sampleOffset=5),
        item("b", "[70:0_80:0)", tsOffset="70:0", objectTimerange="[0:0_10:0)"),
    ]
    items[-1]["getUrls"][0]["label"] = "somewhere"
    await seed.register(flow_id, items)
    found = await manifest(gql, flow_id)
    assert found["omitted"] == [
        "[10:0_19:899999999)",
        "[40:100000001_50:0)",
        "[54:0_56:0)",
        "[60:0_70:0)",
    ]
    cut = "#EXT-X-DISCONTINUITY"
    assert found["playlist"] == lines(
        *head(10),
        *part("10.0", "a"),
        cut,
        *part("9.9", "a"),
        cut,
        *part("9.9", "a"),
        cut,
        *part("10.0", "b"),
        "#EXT-X-ENDLIST",
    )
    found = await manifest(gql, flow_id, labels=["somewhere"])
    assert (found["segmentCount"], found["timerange"]) == (1, "[70:0_80:0)")
    assert len(found["omitted"]) == 7
    found = await manifest(gql, flow_id, labels=[])
    assert (found["segmentCount"], found["timerange"], len(found["omitted"])) == (0, "()", 8)


async def test_a_window_takes_whole_segments(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.register(flow_id, [item(f"{n}", seconds(n, n + 1)) for n in range(6)])
    for window, names in (
        ("_", "012345"),
        ("[1:500000000_3:0)", "12"),
        ("[1:0_3:0]", "123"),
        ("[4:0_", "45"),
        ("[9:0_", ""),
        ("()", ""),
    ):
        found = await manifest(gql, flow_id, window=window)
        wanted = [row for name in names for row in part("1.0", name)]
        assert found["playlist"] == lines(*head(1), *wanted, "#EXT-X-ENDLIST"), window
        assert found["segmentCount"] == len(names)


async def test_a_flow_that_grows_has_a_playlist_that_may(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow(
        "video", status="INGESTING", segmentDuration={"numerator": 7, "denominator": 2}
    )
    empty = await manifest(gql, flow_id)
    assert (empty["playlist"], empty["ended"]) == (lines(*head(4, "EVENT")), False)
    await seed.register(flow_id, [item("a", "[0:0_2:0)"), item("b", "[4:0_6:0)")])
    growing = lines(*head(4, "EVENT"), *part("2.0", "a"), "#EXT-X-DISCONTINUITY", *part("2.0", "b"))
    vod = [*part("2.0", "a"), "#EXT-X-DISCONTINUITY", *part("2.0", "b"), "#EXT-X-ENDLIST"]
    for status in ("INGESTING", "REPLICATION_IN_PROGRESS", "AWAITING_CONTENT"):
        await seed.patch(flow_id, status=status)
        for window, wanted in (
            ("_", growing),
            ("[0:0_", growing),
            ("[0:0_6:1)", growing),
            ("[0:0_6:0)", lines(*head(4), *vod)),
            # The gap before the end of the window is past, too.
            ("[0:0_3:0)", lines(*head(4), *vod[:2], vod[-1])),
            ("()", lines(*head(4), "#EXT-X-ENDLIST")),
        ):
            found = await manifest(gql, flow_id, window=window)
            assert found["playlist"] == wanted, window
            assert found["ended"] is wanted.endswith("#EXT-X-ENDLIST\n")
    await seed.patch(flow_id, status="CLOSED_COMPLETE")
    assert (await manifest(gql, flow_id))["playlist"] == lines(*head(4), *vod)


@pytest.mark.parametrize(
    ("format", "fields", "playable"),
    [
        ("video", {"container": "VIDEO/mp2t"}, True),
        ("audio", {"container": "video/mp2t"}, True),
        ("audio", {"container": "audio/aac"}, True),
        ("audio", {"container": "audio/mpeg"}, True),
        ("multi", {"container": "video/mp2t"}, True),
        ("multi", {"container": None}, False),
        ("video", {"container": None}, False),
        ("video", {"container": "video/mp4"}, False),
        ("video", {"container": "application/mxf"}, False),
        ("audio", {"container": "audio/wav"}, False),
        ("image", {}, False),
        ("data", {"container": "video/mp2t"}, False),
    ],
)
async def test_only_some_containers_can_be_played(
    gql: GraphQL, seed: Seed, format: str, fields: Data, playable: bool
) -> None:
    flow_id = await seed.flow(format, **fields)
    assert (await manifest(gql, flow_id) is not None) is playable


@pytest.mark.parametrize("portion", [1, 1_000])
async def test_fragments_have_their_initialisation_and_change_it_at_a_discontinuity(
    gql: GraphQL, seed: Seed, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    # given
    monkeypatch.setattr(hls, "_PORTION", portion)
    essence = {
        "frameWidth": 1920,
        "frameHeight": 1080,
        "frameRate": {"numerator": 25},
        "initSegments": True,
    }
    flow_id = await seed.flow("video", container="video/iso.segment", essenceParameters=essence)
    inits = await seed.objects(flow_id, b"one", b"two", contentType="video/mp4")
    media = await seed.objects(flow_id, *[b"part"] * 3)
    spans = zip(media, (seconds(0, 2), seconds(2, 4), seconds(4, 6)), strict=True)
    items = [
        {"objectId": id, "timerange": span, "initObjectId": inits[n // 2]}
        for n, (id, span) in enumerate(spans)
    ]
    await seed.register(flow_id, items)
    # when
    before = catalog.services.now_us()
    found = await manifest(gql, flow_id, expiresIn=300)
    # then
    rows = found["playlist"].splitlines()
    maps = [row.removeprefix("#EXT-X-MAP:") for row in rows if row.startswith("#EXT-X-MAP:")]
    urls = [row for row in rows if not row.startswith("#")]
    assert rows == [
        *head(2, version=6),
        f"#EXT-X-MAP:{maps[0]}",
        *("#EXTINF:2.0,", urls[0], "#EXTINF:2.0,", urls[1]),
        *("#EXT-X-DISCONTINUITY", f"#EXT-X-MAP:{maps[1]}", "#EXTINF:2.0,", urls[2]),
        "#EXT-X-ENDLIST",
    ]
    quoted = [text.removeprefix('URI="').removesuffix('"') for text in maps]
    bodies = [(await catalog.http.get(url)).content for url in (*quoted, *urls)]
    assert bodies == [b"one", b"two", b"part", b"part", b"part"]
    expires = round(datetime.fromisoformat(found["expires"]).timestamp() * 1_000_000)
    assert before + 300_000_000 <= expires <= catalog.services.now_us() + 300_000_000


async def test_too_many_segments_are_refused_with_their_number(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.register(flow_id, [item(f"{n}", seconds(n, n + 1)) for n in range(6)])
    assert (await manifest(gql, flow_id, maxSegments=6))["segmentCount"] == 6
    window = {"window": "[1:0_4:0)"}
    assert (await manifest(gql, flow_id, maxSegments=3, **window))["segmentCount"] == 3
    for arguments, limit, found in (
        ({"maxSegments": 5}, 5, 6),
        ({"maxSegments": 2, **window}, 2, 3),
    ):
        message = (
            f"maxSegments: the window has {found} segments; the limit is {limit}: ask for a"
            " smaller window, or for more"
        )
        wanted = {"field": "maxSegments", "limit": limit, "requested": found}
        errors = await gql.errors(HLS, {"id": flow_id, **arguments})
        assert errors == [refusal("LIMIT_EXCEEDED", message, "flow", "hls", **wanted)]
    errors = await gql.errors(HLS, {"id": flow_id, "maxSegments": 0})
    message = "maxSegments: 0 is not allowed; it must be 1 or more"
    assert errors == [refusal("BAD_USER_INPUT", message, "flow", "hls", field="maxSegments")]
    errors = await gql.errors(HLS, {"id": flow_id, "maxSegments": 10_001})
    message = "maxSegments: 10,001 is above the limit of 10,000"
    wanted = {"field": "maxSegments", "limit": 10_000, "requested": 10_001}
    assert errors == [refusal("LIMIT_EXCEEDED", message, "flow", "hls", **wanted)]


@pytest.mark.parametrize("count", [1, 50])
async def test_round_trips_do_not_grow_with_segments_or_flows(
    catalog: Catalog, seed: Seed, count: int
) -> None:
    flows = [await seed.flow("video", status="INGESTING") for _ in range(1 + count // 25)]
    for flow_id in flows:
        await seed.segments(flow_id, *[seconds(n, n + 1) for n in range(count)])
    query = """query($ids: [ID!]!) { flows(filter: { ids: $ids }) { nodes {
      hls(window: "[0:0_100:0)", maxSegments: 50) { segmentCount playlist } } } }"""
    with watched() as calls:
        found = await catalog.gql.execute(query, {"ids": flows})
    counts = [flow["hls"]["segmentCount"] for flow in found["flows"]["nodes"]]
    assert counts == [count] * len(flows)
    assert sorted(calls) == [
        "scan flow_counters",
        "scan flows",
        "scan objects",
        f"sign {count * len(flows)} GET",
        "windows",
    ]


async def test_a_long_playlist_is_made_in_portions(
    catalog: Catalog, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id = await seed.flow("video")
    await seed.segments(flow_id, *[seconds(n, n + 1) for n in range(5)])
    whole = await manifest(catalog.gql, flow_id)
    monkeypatch.setattr(hls, "_PORTION", 2)
    with watched() as calls:
        assert (await manifest(catalog.gql, flow_id))["segmentCount"] == whole["segmentCount"] == 5
    assert sorted(calls) == [
        "scan flows",
        *["scan objects"] * 3,
        "sign 1 GET",
        *["sign 2 GET"] * 2,
        "windows",
    ]


async def test_the_price_counts_as_many_segments_as_may_be(tmp_path: Path) -> None:
    settings = quick_settings(tmp_path / "priced", max_query_cost=300)
    async with running(settings) as catalog:
        flow_id = await Seed(catalog.gql, catalog.http).flow("video")
        query = "query($id: ID!, $n: Int!) { flow(id: $id) { hls(maxSegments: $n) { ended } } }"
        found = await catalog.gql.execute(query, {"id": flow_id, "n": 99})
        assert found["flow"]["hls"]["ended"] is True
        (error,) = await catalog.gql.errors(query, {"id": flow_id, "n": 100})
        assert error["extensions"]["requested"] == 303
        (error,) = await catalog.gql.errors(
            "query($id: ID!) { flow(id: $id) { hls { ended } } }", {"id": flow_id}
        )
        assert error["extensions"]["requested"] == 3003


@pytest.mark.parametrize(
    ("durations", "target"),
    [
        ((), 1),
        ((1,), 1),
        ((NS // 2 - 1,), 1),
        ((NS * 3 // 2 - 1,), 1),
        ((NS * 3 // 2,), 2),
        ((2 * NS, 10 * NS, 3 * NS), 10),
        ((10 * NS + NS // 2 - 1,), 10),
    ],
)
def test_the_target_is_what_no_rounded_duration_exceeds(
    durations: Sequence[int], target: int
) -> None:
    assert target_duration(durations) == target


def test_a_quote_cannot_end_the_url_of_an_initialisation() -> None:
    entry = Entry("https://a/b", NS, 'https://a/"c', False, None)
    assert '#EXT-X-MAP:URI="https://a/%22c"\n' in playlist_text([entry], target=1, ended=True)


async def test_a_clock_may_not_leave_the_calendar(gql: GraphQL, seed: Seed) -> None:
    flow_id = await seed.flow("video")
    await seed.register(flow_id, [item("a", "[-1:0_1:0)"), item("b", "[1:0_2:0)")])
    for clock in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.5Z"):
        errors = await gql.errors(HLS, {"id": flow_id, "clockAtZero": clock})
        message = "clockAtZero: the segments would lie outside the years 1 to 9999"
        assert errors == [refusal("BAD_USER_INPUT", message, "flow", "hls", field="clockAtZero")]
    for clock in ("0001-01-01T00:00:01Z", "9999-12-31T23:59:58Z"):
        assert (await manifest(gql, flow_id, clockAtZero=clock))["segmentCount"] == 2


async def test_nothing_is_nothing(gql: GraphQL) -> None:
    assert await gql.execute(HLS, {"id": new_id()}) == {"flow": None}
