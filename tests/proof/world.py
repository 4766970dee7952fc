"""A catalog full of all kinds of things, made by chance, and what the API says of each of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tams_gql.model.ids import new_id
from tests import seed
from tests.catalog import Catalog
from tests.gql import Data, GraphQL
from tests.seed import Seed

LABELS = [
    None,
    "",
    "a",
    "ab",
    "A b",
    "B",
    "ä",
    "Straße",
    "STRASSE",
    "x\0y",
    "日本語",
    "🎬 news",
    '"',
]
TAG_NAMES = ["genre", "Genre", "empty", "ß", "a\0b"]
TAG_VALUES = ["", "n", "news", "News", "new\0s", "ﬁlm", "日本", "100%", "_"]
SEARCHES = ["a", "STRASSE", "news", "本", "x y", "ew", "ﬁ", "film", "🎬", '"', "'", "%", "*", "zzz"]
CODECS = {
    "video": ["video/h264", "video/h265"],
    "audio": ["audio/aac"],
    "image": ["image/jpeg"],
    "data": ["application/json", "text/vtt"],
}
CONTAINERS = ["video/mp2t", "video/mp4"]
STATUSES = ["AWAITING_CONTENT", "INGESTING", "CLOSED_COMPLETE"]
FORMATS = ["VIDEO", "AUDIO", "IMAGE", "DATA", "MULTI"]
WIDTHS, RATES = [1280, 1920], [44100, 48000]

_CREATE_SOURCE = """
mutation Create($input: CreateSourceInput!) { createSource(input: $input) { event } }
"""
_UPDATE_SOURCE = """
mutation Update($input: UpdateSourceInput!) { updateSource(input: $input) { event } }
"""
_CREATE_PROFILE = """
mutation Create($input: CreateProfileInput!) { createProfile(input: $input) { profile { id } } }
"""

_COMMON = "id format label description tags { name values } created"
_FLOW = f"""
{_COMMON} collectedBy {{ id }} source {{ id }} profile {{ id }} codec container status readOnly
generation metadataUpdated timerange version
... on VideoFlow {{ essenceParameters {{ frameWidth frameHeight initSegments }} }}
... on AudioFlow {{ essenceParameters {{ sampleRate channels initSegments }} }}
... on ImageFlow {{ essenceParameters {{ frameWidth frameHeight }} }}
... on DataFlow {{ essenceParameters {{ initSegments }} }}
... on MultiFlow {{ multi: essenceParameters {{ initSegments }} }}
"""
_EVERYTHING = f"""
{{
  flows(first: 1000) {{ nodes {{ {_FLOW} }} }}
  sources(first: 1000) {{ nodes {{ {_COMMON} collectedBy {{ id }} updated version }} }}
  profiles(first: 1000) {{ nodes {{ {_COMMON} codec }} }}
  objects(first: 500) {{ nodes {{
    id size contentType created orphaned referenceCount instances {{ storageId label }}
    references(first: 20) {{ nodes {{ id flow {{ id }} }} }}
  }} }}
}}
"""
_EVENTS = "{ events(first: 1000) { nodes { cursor type flowId sourceId } } }"


@dataclass(frozen=True)
class World:
    """Everything that the API says of a catalog."""

    flows: Sequence[Data]
    sources: Sequence[Data]
    profiles: Sequence[Data]
    objects: Sequence[Data]
    events: Sequence[Data]


async def seen(gql: GraphQL) -> World:
    """The catalog as it is now."""
    data = await gql.execute(_EVERYTHING)
    events = (await gql.execute(_EVENTS))["events"]["nodes"]
    kinds = ("flows", "sources", "profiles", "objects")
    nodes = {kind: data[kind]["nodes"] for kind in kinds}
    return World(**nodes, events=events)


class Maker:
    """Fills a catalog by chance."""

    def __init__(self, catalog: Catalog, chance: random.Random) -> None:
        self.chance = chance
        self.seed = Seed(catalog.gql, catalog.http)
        self._gql = catalog.gql
        self._sources: dict[str, list[str]] = {name: [] for name in [*CODECS, "multi"]}
        self._profiles: list[str] = []
        self._flows: list[str] = []
        # By whether one needs another, and by container: only like flows share objects.
        self._objects: dict[tuple[bool, str], list[str]] = {
            (init, container): [] for init in (False, True) for container in CONTAINERS
        }

    async def fill(self, flows: int) -> None:
        """Make sources with and without flows, profiles, flows, segments and objects."""
        for _ in range(3):
            await self.profile()
            await self.source()
        for _ in range(flows):
            await self.flow()
        for _ in range(flows // 4):
            await self.change_a_source()

    async def profile(self) -> None:
        """A profile of video."""
        width = self.chance.choice(WIDTHS)
        video = {"frameWidth": width, "frameHeight": 720, "frameRate": {"numerator": 25}}
        given = {
            "id": new_id(),
            **self.texts(),
            "codec": self.chance.choice(CODECS["video"]),
            "container": self.chance.choice([None, *CONTAINERS]),
            "essenceParameters": {"video": video},
        }
        await self._gql.execute(_CREATE_PROFILE, {"input": given})
        self._profiles.append(given["id"])

    async def source(self) -> None:
        """A source that needs no flow."""
        name = self.chance.choice([*CODECS, "multi"])
        given = {"id": new_id(), "format": name.upper(), **self.texts()}
        await self._gql.execute(_CREATE_SOURCE, {"input": given})
        self._sources[name].append(given["id"])

    async def change_a_source(self) -> None:
        """New texts for one of the sources."""
        source_id = self.chance.choice([i for ids in self._sources.values() for i in ids])
        given = {"id": source_id, **self.texts()}
        await self._gql.execute(_UPDATE_SOURCE, {"input": given})

    async def flow(self, **fields: Any) -> str:
        """A flow of any kind, most often with segments."""
        chance, name = self.chance, self.chance.choice([*CODECS, "multi"])
        texts = {**self.texts(), **self._states(), **fields}
        if self._flows and chance.random() < 0.3:
            members = chance.sample(self._flows, min(2, len(self._flows)))
            texts["collection"] = [{"flowId": flow_id} for flow_id in members]
        if self._profiles and name == "video" and chance.random() < 0.3:
            return await self._profile_flow(texts)
        technical = self._technical(name)
        given = {"sourceId": self._source_of(name), **technical, **texts}
        flow_id = await self.seed.flow(name, **given)
        self._flows.append(flow_id)
        container = technical["container"]
        if container is not None and chance.random() < 0.8:
            init = bool(technical["essenceParameters"].get("initSegments"))
            await self.segments(flow_id, container, init=init)
        if chance.random() < 0.3:
            await self.seed.patch(flow_id, description="changed")
        if chance.random() < 0.2:
            await self.seed.patch(flow_id, readOnly=True)
        return flow_id

    async def segments(self, flow_id: str, container: str, *, init: bool = False) -> None:
        """Some segments; now and then with bytes, or deleted again."""
        chance = self.chance
        starts = sorted(chance.sample(range(60), chance.randint(1, 4)))
        ranges = [seed.seconds(start, start + 1) for start in starts]
        if init:
            made = await self._with_init(flow_id, ranges)
        elif chance.random() < 0.4:
            body = b"x" * chance.randint(1, 5)
            made = await self.seed.segments(flow_id, *ranges, body=body)
        else:
            made = await self.seed.external(flow_id, *ranges)
        known = self._objects[init, container]
        if known and chance.random() < 0.5:
            await self._reuse(flow_id, chance.choice(known))
        known += [object_id for object_id in made if object_id not in known]
        if chance.random() < 0.3:
            await self.seed.delete_segments(flow_id, coveredBy=ranges[0])

    async def _reuse(self, flow_id: str, object_id: str) -> None:
        """Lay an object of another flow, or of this one, on a later part of the timeline."""
        query = "query Object($id: ID!) { object(id: $id) { timerange } }"
        data = await self._gql.execute(query, {"id": object_id})
        start = int(data["object"]["timerange"][1:].split(":")[0])
        later = {"timerange": seed.seconds(100, 101), "tsOffset": f"{100 - start}:0"}
        await self.seed.register(flow_id, [{"objectId": object_id, **later}])

    async def _with_init(self, flow_id: str, ranges: Sequence[str]) -> list[str]:
        init_id, *ids = await self.seed.objects(flow_id, b"init", *[b"media"] * len(ranges))
        items = [
            {"objectId": object_id, "timerange": timerange, "initObjectId": init_id}
            for object_id, timerange in zip(ids, ranges, strict=True)
        ]
        await self.seed.register(flow_id, items)
        return ids

    def texts(self) -> Data:
        """Label, description and tags."""
        chance = self.chance
        names = chance.sample(TAG_NAMES, chance.randint(0, 3))
        tags = [
            {"name": name, "values": chance.sample(TAG_VALUES, chance.choice([0, 1, 1, 2]))}
            for name in names
        ]
        return {
            "label": chance.choice(LABELS),
            "description": chance.choice([None, None, "Some news", "FILM"]),
            "tags": tags,
        }

    def _technical(self, name: str) -> Data:
        chance = self.chance
        found: Data = {"container": chance.choice([None, *CONTAINERS, *CONTAINERS])}
        if name != "multi":
            found["codec"] = chance.choice(CODECS[name])
        init = {"initSegments": chance.choice([None, None, False, True])}
        size = {"frameWidth": chance.choice(WIDTHS), "frameHeight": chance.choice([720, 1080])}
        essence: dict[str, Data] = {
            "video": {**size, **init, "frameRate": {"numerator": 25}},
            "audio": {
                "sampleRate": chance.choice(RATES),
                "channels": chance.choice([1, 2]),
                **init,
            },
            "image": size,
            "data": init,
            "multi": init,
        }
        return {**found, "essenceParameters": essence[name]}

    def _states(self) -> Data:
        chance = self.chance
        return {
            "status": chance.choice([None, *STATUSES]),
            "generation": chance.choice([None, 0, 1]),
        }

    def _source_of(self, name: str) -> str:
        known = self._sources[name]
        if known and self.chance.random() < 0.6:
            return self.chance.choice(known)
        known.append(new_id())
        return known[-1]

    async def _profile_flow(self, texts: Data) -> str:
        flow_id: str = new_id()
        ids = {"id": flow_id, "sourceId": self._source_of("video")}
        profile_id = self.chance.choice(self._profiles)
        given = {"profile": {**ids, "profileId": profile_id, **texts}}
        await self._gql.execute(seed.PUT_FLOW, {"input": given})
        return flow_id
