"""A small catalog behind a real socket: the operations ingest calls, with the rules it relies on.

It checks every request against the schema, keeps everything in memory, counts what was asked, and
can be told to fail. It stands in for the server only where a test needs such failures or must run
without one.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from graphql import ExecutionResult, GraphQLError, build_schema, graphql_sync

from tams_gql.model.time import TimeRange, parse_timestamp
from tests.ingest.catalog_schema import SCHEMA

JSON = dict[str, Any]


def refused(code: str, message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code})


@dataclass
class StoredSegment:
    flow_id: str
    given: JSON

    @property
    def timerange(self) -> TimeRange:
        return TimeRange.parse(self.given["timerange"])


@dataclass
class FakeCatalog:
    """The state of the catalog and the root of its resolvers."""

    url: str = ""
    flows: dict[str, JSON] = field(default_factory=dict)
    stored: dict[str, list[StoredSegment]] = field(default_factory=dict)
    allocated: dict[str, tuple[str, str]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    batches: list[int] = field(default_factory=list)
    uploads: int = 0
    busy: int = 0
    busiest: int = 0
    fail: Callable[[str], int | GraphQLError | None] = lambda _: None
    lose: Callable[[str], bool] = lambda _: False
    inspect: Callable[[Message], None] = lambda _: None
    signature: int = 1
    delay: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    # Queries

    def flow(self, _info: Any, id: str) -> JSON | None:
        given = self.flows.get(id)
        if given is None:
            return None
        spans = [s.timerange for s in self.stored[id]]
        whole = (
            TimeRange.between(spans[0].start_ns, max(s.end_ns for s in spans)).text
            if spans
            else None
        )

        def segments(_info: Any, **arguments: Any) -> JSON:
            return self._page(id, **arguments)

        return {
            "id": id,
            "format": given["kind"].upper(),
            "codec": given.get("codec"),
            "container": given.get("container"),
            "status": given.get("status"),
            "readOnly": False,
            "timerange": whole,
            "segments": segments,
        }

    def _page(
        self,
        flow_id: str,
        first: int,
        reverse: bool = False,
        window: str | None = None,
        after: str | None = None,
    ) -> JSON:
        found = self.stored[flow_id]
        if window is not None:
            span = TimeRange.parse(window)
            found = [
                s
                for s in found
                if s.timerange.start_ns < span.end_ns and s.timerange.end_ns > span.start_ns
            ]
        if reverse:
            found = found[::-1]
        begin = int(after or 0)
        page = found[begin : begin + first]
        more = begin + first < len(found)
        return {
            "nodes": [self._node(s) for s in page],
            "pageInfo": {"hasNextPage": more, "endCursor": str(begin + first) if more else None},
            "totalCount": len(found),
        }

    def _node(self, segment: StoredSegment) -> JSON:
        given = segment.given
        init = given.get("initObjectId")
        return {
            "objectId": given["objectId"],
            "timerange": given["timerange"],
            "tsOffset": given.get("tsOffset", "0:0"),
            "object": self._object(given["objectId"]) | {"initObject": init and self._object(init)},
            "tags": given.get("tags") or [],
        }

    def _object(self, object_id: str) -> JSON:
        return {
            "id": object_id,
            "size": len(self.contents[object_id]),
            "getUrls": [{"url": f"{self.url}/media/{object_id}?signature=read", "label": "local"}],
        }

    # Mutations

    def put_flow(self, _info: Any, input: JSON) -> JSON:
        [given] = input.values()
        created = given["id"] not in self.flows
        for member in given.get("collection") or ():
            if member["flowId"] not in self.flows:
                raise refused("BAD_USER_INPUT", f"collection: no flow {member['flowId']}")
        self.flows[given["id"]] = dict(given, kind=next(iter(input)))
        self.stored.setdefault(given["id"], [])
        return {"created": created, "event": "1"}

    def patch_flow(self, _info: Any, input: JSON) -> JSON:
        self.flows[input["id"]].update(input)
        return {"event": "1"}

    def allocate(self, _info: Any, input: JSON) -> JSON:
        flow = self.flows[input["flowId"]]
        if flow.get("container") is None:
            raise refused("BAD_USER_INPUT", "the flow has no container")
        content_type = input.get("contentType") or flow["container"]
        objects = []
        for _ in range(input["limit"]):
            object_id = f"object-{len(self.allocated)}"
            self.allocated[object_id] = (input["flowId"], content_type)
            put = f"{self.url}/media/{object_id}?signature={self.signature}"
            headers = [{"name": "Content-Type", "value": content_type}]
            objects.append(
                {
                    "objectId": object_id,
                    "presigned": True,
                    "putUrl": {"url": put, "headers": headers},
                }
            )
        return {"mediaObjects": objects}

    def register(self, _info: Any, input: JSON) -> JSON:
        self.batches.append(len(input["segments"]))
        results = []
        for index, given in enumerate(input["segments"]):
            error = self._register(input["flowId"], given)
            results.append({"index": index, "error": error})
        count = sum(result["error"] is None for result in results)
        return {"registeredCount": count, "event": "1", "results": results}

    def _register(self, flow_id: str, given: JSON) -> JSON | None:
        flow, span = self.flows[flow_id], TimeRange.parse(given["timerange"])
        for object_id in filter(None, (given["objectId"], given.get("initObjectId"))):
            if object_id not in self.contents or self.allocated[object_id][0] != flow_id:
                return {"code": "BAD_USER_INPUT", "message": f"{object_id} was not uploaded"}
        wants_init = bool((flow.get("essenceParameters") or {}).get("initSegments"))
        if wants_init != (given.get("initObjectId") is not None):
            return {"code": "BAD_USER_INPUT", "message": "initObjectId breaks the flow's rule"}
        offset = parse_timestamp(given.get("tsOffset", "0:0"))
        whole = TimeRange.parse(given["objectTimerange"])
        if not (whole.start_ns <= span.start_ns - offset < span.end_ns - offset <= whole.end_ns):
            return {"code": "BAD_USER_INPUT", "message": "timerange is outside the object"}
        for other in self.stored[flow_id]:
            taken = other.timerange
            if taken.start_ns < span.end_ns and taken.end_ns > span.start_ns:
                return {"code": "CONFLICT", "message": f"{span.text} overlaps {taken.text}"}
        self.stored[flow_id].append(StoredSegment(flow_id, given))
        self.stored[flow_id].sort(key=lambda s: s.timerange.start_ns)
        return None

    def delete(self, _info: Any, input: JSON) -> JSON:
        span = TimeRange.parse(input["coveredBy"])
        kept = [
            s
            for s in self.stored[input["flowId"]]
            if s.timerange.start_ns < span.start_ns or s.timerange.end_ns > span.end_ns
        ]
        deleted = len(self.stored[input["flowId"]]) - len(kept)
        self.stored[input["flowId"]] = kept
        return {"deletedCount": deleted, "event": "1"}

    def root(self) -> JSON:
        """The root value of the schema's resolvers."""
        return {
            "flow": self.flow,
            "putFlow": self.put_flow,
            "patchFlow": self.patch_flow,
            "allocateStorage": self.allocate,
            "registerSegments": self.register,
            "deleteSegments": self.delete,
        }

    # Requests

    def answer(self, query: str, variables: JSON) -> tuple[int, bytes, str]:
        name = query.split("(")[0].split()[-1]
        with self.lock:
            self.calls[name] += 1
            failure = self.fail(name)
            if isinstance(failure, int):
                return failure, b"down", "text/plain"
            if failure is not None:
                result = ExecutionResult(errors=[failure])
            else:
                result = graphql_sync(_SCHEMA, query, self.root(), variable_values=variables)
            if self.lose(name):
                return 502, b"the answer got lost", "text/plain"
        return 200, json.dumps(result.formatted).encode(), "application/json"

    def upload(self, object_id: str, signature: str, content_type: str, body: bytes) -> int:
        failure = self.fail("PUT")
        if isinstance(failure, int):
            return failure
        if signature != str(self.signature):
            return 403
        if content_type != self.allocated[object_id][1]:
            return 400
        self.contents[object_id] = body
        self.uploads += 1
        return 200

    # What tests look at

    def segments(self, flow_id: str) -> list[JSON]:
        return [segment.given for segment in self.stored[flow_id]]

    def of_kind(self, kind: str) -> list[JSON]:
        return [flow for flow in list(self.flows.values()) if flow["kind"] == kind]

    def content(self, segment: JSON) -> bytes:
        """What a player reads: the initialisation segment, if any, and the segment."""
        init = segment.get("initObjectId")
        return (self.contents[init] if init else b"") + self.contents[segment["objectId"]]


_SCHEMA = build_schema(SCHEMA)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: else each answer waits for an acknowledgement
    catalog: FakeCatalog

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_POST(self) -> None:
        self.catalog.inspect(self.headers)
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(*self.catalog.answer(request["query"], request["variables"]))

    def do_PUT(self) -> None:
        catalog, parts = self.catalog, urlsplit(self.path)
        with catalog.lock:
            catalog.busy += 1
            catalog.busiest = max(catalog.busiest, catalog.busy)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(catalog.delay)
        with catalog.lock:
            catalog.busy -= 1
            object_id = parts.path.removeprefix("/media/")
            [signature] = parse_qs(parts.query)["signature"]
            status = catalog.upload(object_id, signature, self.headers["Content-Type"], body)
        self._answer(status)

    def do_GET(self) -> None:
        object_id = urlsplit(self.path).path.removeprefix("/media/")
        self._answer(200, self.catalog.contents[object_id], "application/octet-stream")


@contextmanager
def running_catalog() -> Iterator[FakeCatalog]:
    """Serve an empty catalog on a free port of the loopback interface."""
    catalog = FakeCatalog()
    handler = type("Handler", (_Handler,), {"catalog": catalog})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    catalog.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield catalog
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fail_nth(operation: str, *numbers: int, status: int = 503) -> Callable[[str], int | None]:
    """Fails the given calls (counted from 1) of one operation."""
    count = itertools.count(1)

    def fail(name: str) -> int | None:
        return status if name == operation and next(count) in numbers else None

    return fail
