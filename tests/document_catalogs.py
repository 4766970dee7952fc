"""The catalogs that documents speak of, with the ids that are printed there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tests.catalog import Catalog
from tests.seed import Seed, external, seconds

SAMPLE_BYTES = 4_000

Fill = Callable[[Catalog], Awaitable[None]]

CREATE_SOURCE = """
mutation CreateSource($input: CreateSourceInput!) { createSource(input: $input) { event } }
"""

GENRE = "genre"


def source_id(number: int) -> str:
    """A source of the documents."""
    return f"50000000-0000-4000-8000-{number:012}"


def flow_id(number: int) -> str:
    """A flow of the documents."""
    return f"f0000000-0000-4000-8000-{number:012}"


async def nothing(catalog: Catalog) -> None:
    """The document makes all that it needs."""


async def camera_goes_on(catalog: Catalog) -> None:
    """A segment for those who follow the flow of ``docs/graphql.md``."""
    await _seed(catalog).external("4160fa0d-7918-4f59-bbd6-5017cd9c741f", seconds(100, 110))


async def demo(catalog: Catalog) -> None:
    """What the demo loads, in small: a programme, and a channel that is live."""
    seed = _seed(catalog)
    tags = [{"name": GENRE, "values": ["test card"]}]
    video = await seed.flow(
        id=flow_id(1), sourceId=source_id(1), label="Demo programme, video", tags=tags
    )
    await seed.segments(video, *(seconds(s, s + 2) for s in range(0, 60, 2)))
    await seed.flow(id=flow_id(2), sourceId=source_id(2), label="Demo live channel")
    await channel_goes_on(catalog)


async def channel_goes_on(catalog: Catalog) -> None:
    """A segment for those who follow the live channel of the demo."""
    known = len(await catalog.event_types())
    start = 1_700_000_000 + 2 * known
    await _seed(catalog).segments(flow_id(2), seconds(start, start + 2))


async def match_day(catalog: Catalog) -> None:
    """The sources and flows of ``docs/graphql-by-example.md``, as its first table has them."""
    await _sources(catalog)
    seed = _seed(catalog)
    await _flows(seed)
    await _recordings(seed)
    await seed.flow(
        id=flow_id(9), sourceId=source_id(7), label="Channel 1", segmentDuration={"numerator": 2}
    )
    await seed.register(
        flow_id(9), [external(seconds(s, s + 2), f"channel-1/{s // 2}") for s in (0, 2)]
    )


async def _sources(catalog: Catalog) -> None:
    for number, format, label, genre in (
        (1, "MULTI", "Cup final", "sport"),
        (2, "VIDEO", "Cup final, pictures", "sport"),
        (3, "AUDIO", "Cup final, sound", "sport"),
        (4, "IMAGE", "Cup final, stills", "sport"),
        (5, "MULTI", "Season 2026", "sport"),
        (6, "MULTI", "Evening news", "news"),
        (7, "VIDEO", "Channel 1", "news"),
        (8, "VIDEO", "Best goals", "sport"),
    ):
        tags = [{"name": GENRE, "values": [genre]}]
        source = {"id": source_id(number), "format": format, "label": label, "tags": tags}
        await catalog.gql.execute(CREATE_SOURCE, {"input": source})


async def _flows(seed: Seed) -> None:
    picture = {"frameWidth": 640, "frameHeight": 360, "frameRate": {"numerator": 25}}
    for number, source, format, label, fields in (
        (2, 2, "video", "Main camera", {"avgBitRate": 8_000, "generation": 0}),
        (3, 2, "video", "Main camera, proxy", {"avgBitRate": 800, "essenceParameters": picture}),
        (4, 3, "audio", "Stadium sound", {"avgBitRate": 128}),
        (5, 4, "image", "Stills", {}),
        (10, 8, "video", "Best goals", {}),
    ):
        ids = {"id": flow_id(number), "sourceId": source_id(source)}
        await seed.flow(format, **ids, label=label, **fields)
    roles = {2: "video", 3: "proxy", 4: "audio", 5: "stills"}
    for number, source, label, members in (
        (1, 1, "Cup final", roles),
        (6, 5, "Season 2026", {1: "match"}),
        (7, 6, "Evening news", {}),
    ):
        collection = [{"flowId": flow_id(m), "role": role} for m, role in members.items()]
        ids = {"id": flow_id(number), "sourceId": source_id(source)}
        await seed.flow("multi", **ids, label=label, collection=collection)


async def _recordings(seed: Seed) -> None:
    for number, name, starts, length in (
        (2, "camera", (0, 10, 20, 30), 10),
        (3, "proxy", (0, 20), 20),
        (4, "sound", (0, 20), 20),
        (5, "still", (0, 30), 10),
    ):
        await _record(seed, number, name, starts, length)
    # The third part is taken out again: a gap on the timeline, and an object without a user.
    await seed.delete_segments(flow_id(2), objectId="camera/3")
    reused = {"objectId": "camera/2", "timerange": seconds(0, 5), "tsOffset": "-10:0"}
    await seed.register(flow_id(10), [reused])


async def _record(seed: Seed, number: int, name: str, starts: Sequence[int], length: int) -> None:
    """Uploaded objects ``name/1``, ``name/2`` … on the timeline of a flow."""
    ids = [f"{name}/{nth}" for nth in range(1, 1 + len(starts))]
    for place in await seed.allocate(flow_id(number), objectIds=ids):
        await seed.upload(place["putUrl"], name.encode().ljust(SAMPLE_BYTES))
    spans = (seconds(start, start + length) for start in starts)
    items = [{"objectId": i, "timerange": span} for i, span in zip(ids, spans, strict=True)]
    await seed.register(flow_id(number), items)


def _seed(catalog: Catalog) -> Seed:
    return Seed(catalog.gql, catalog.http)
