"""Fills a catalog as clients do: through mutations, and real uploads of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tams_gql.model.ids import new_id
from tests.gql import Data, GraphQL

MPEG_TS = "video/mp2t"

_FLOWS: Mapping[str, Data] = {
    "video": {
        "codec": "video/h264",
        "container": MPEG_TS,
        "essenceParameters": {
            "frameWidth": 1920,
            "frameHeight": 1080,
            "frameRate": {"numerator": 25},
        },
    },
    "audio": {
        "codec": "audio/aac",
        "container": MPEG_TS,
        "essenceParameters": {"sampleRate": 48000, "channels": 2},
    },
    "image": {
        "codec": "image/jpeg",
        "container": "image/jpeg",
        "essenceParameters": {"frameWidth": 320, "frameHeight": 180},
    },
    "data": {
        "codec": "application/json",
        "container": "application/json",
        "essenceParameters": {},
    },
    "multi": {"container": MPEG_TS},
}

PUT_FLOW = """
mutation Put($input: PutFlowInput!) { putFlow(input: $input) { created event flow { id } } }
"""

PATCH_FLOW = """
mutation Patch($input: PatchFlowInput!) { patchFlow(input: $input) { event flow { id } } }
"""

DELETE_FLOW = """
mutation Delete($input: DeleteFlowInput!) {
  deleteFlow(input: $input) { deletedFlowId deletedSegmentCount sourceDeleted event }
}
"""

ALLOCATE = """
mutation Allocate($input: AllocateStorageInput!) {
  allocateStorage(input: $input) {
    mediaObjects { objectId storageId presigned putUrl { url expires headers { name value } } }
  }
}
"""

REGISTER = """
mutation Register($input: RegisterSegmentsInput!) {
  registerSegments(input: $input) {
    registeredCount
    event
    results { index segment { id objectId timerange } error { code message field } }
  }
}
"""

DELETE_SEGMENTS = """
mutation DeleteSegments($input: DeleteSegmentsInput!) {
  deleteSegments(input: $input) { deletedCount event }
}
"""

CREATE_SOURCE = """
mutation CreateSource($input: CreateSourceInput!) {
  createSource(input: $input) { event source { id label version } }
}
"""

UPDATE_SOURCE = """
mutation UpdateSource($input: UpdateSourceInput!) {
  updateSource(input: $input) { event source { id label version } }
}
"""

DELETE_SOURCE = """
mutation DeleteSource($input: DeleteSourceInput!) {
  deleteSource(input: $input) { event deletedSourceId }
}
"""


def flow_input(format: str = "video", **fields: object) -> Data:
    """A ``PutFlowInput`` with what its format needs, and ``fields`` over that."""
    ids = {"id": new_id(), "sourceId": new_id()}
    return {format: {**ids, **_FLOWS[format], **fields}}


def external(timerange: str, object_id: str | None = None, **fields: object) -> Data:
    """A segment whose bytes are elsewhere, so that nothing has to be uploaded."""
    url = {"url": "https://media.example.com/1.ts", "label": "elsewhere"}
    object_id = object_id or new_id()
    return {"objectId": object_id, "timerange": timerange, "getUrls": [url], **fields}


def seconds(start: int, end: int) -> str:
    """The range of whole seconds ``[start, end)``."""
    return f"[{start}:0_{end}:0)"


def header_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The headers of an ``HttpRequest``."""
    return {header["name"]: header["value"] for header in request["headers"]}


class Seed:
    """Makes resources, each call in one operation; what it makes is valid unless told otherwise."""

    def __init__(self, gql: GraphQL, http: httpx.AsyncClient) -> None:
        self._gql = gql
        self._http = http

    async def flow(self, format: str = "video", **fields: object) -> str:
        """A flow; its id."""
        flow_id: str = (await self.put(format, **fields))["flow"]["id"]
        return flow_id

    async def put(self, format: str = "video", **fields: object) -> Data:
        """The payload of ``putFlow``."""
        return await self._payload(PUT_FLOW, flow_input(format, **fields))

    async def patch(self, flow_id: str, **changes: object) -> Data:
        """The payload of ``patchFlow``."""
        return await self._payload(PATCH_FLOW, {"id": flow_id, **changes})

    async def delete(self, flow_id: str, **fields: object) -> Data:
        """The payload of ``deleteFlow``."""
        return await self._payload(DELETE_FLOW, {"id": flow_id, **fields})

    async def allocate(self, flow_id: str, **fields: object) -> list[Data]:
        """The allocated objects."""
        payload = await self._payload(ALLOCATE, {"flowId": flow_id, **fields})
        objects: list[Data] = payload["mediaObjects"]
        return objects

    async def upload(self, request: Mapping[str, Any], body: bytes) -> None:
        """Send the bytes as an allocation says."""
        done = await self._http.put(request["url"], headers=header_of(request), content=body)
        assert done.status_code == httpx.codes.OK, done.text

    async def objects(self, flow_id: str, *bodies: bytes, **fields: object) -> list[str]:
        """Allocated and uploaded objects, not yet registered; their ids."""
        allocated = await self.allocate(flow_id, limit=len(bodies), **fields)
        for place, body in zip(allocated, bodies, strict=True):
            await self.upload(place["putUrl"], body)
        return [place["objectId"] for place in allocated]

    async def register(self, flow_id: str, segments: Sequence[Data], **fields: object) -> Data:
        """The payload of a registration of which every item succeeds."""
        payload = await self.try_register(flow_id, segments, **fields)
        failed = [result["error"] for result in payload["results"] if result["error"] is not None]
        assert failed == [], failed
        return payload

    async def try_register(self, flow_id: str, segments: Sequence[Data], **fields: object) -> Data:
        """The payload of a registration, whatever becomes of its items."""
        given = {"flowId": flow_id, "segments": list(segments), **fields}
        return await self._payload(REGISTER, given)

    async def segments(self, flow_id: str, *timeranges: str, body: bytes = b"media") -> list[str]:
        """One uploaded object of its own for each range; the objects' ids."""
        ids = await self.objects(flow_id, *[body] * len(timeranges))
        items = [
            {"objectId": object_id, "timerange": timerange}
            for object_id, timerange in zip(ids, timeranges, strict=True)
        ]
        await self.register(flow_id, items)
        return ids

    async def external(self, flow_id: str, *timeranges: str) -> list[str]:
        """The same without uploads: every object is only known by a URL elsewhere."""
        items = [external(timerange) for timerange in timeranges]
        await self.register(flow_id, items)
        return [item["objectId"] for item in items]

    async def delete_segments(self, flow_id: str, **fields: object) -> Data:
        """The payload of ``deleteSegments``."""
        return await self._payload(DELETE_SEGMENTS, {"flowId": flow_id, **fields})

    async def _payload(self, mutation: str, given: object) -> Data:
        (payload,) = (await self._gql.execute(mutation, {"input": given})).values()
        done: Data = payload
        return done
