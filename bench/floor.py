"""The floor: the least a Python server can do for the same answers from the same file.

Plain sqlite3 with the same SQL, dicts, orjson and bare ASGI, in one thread. It knows four
questions, checks nothing and cannot write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import orjson
import uvicorn

_EPOCH = datetime(1970, 1, 1)
_LATEST_NS = 2**63 - 1
_FORMATS = {"urn:x-nmos:format:video": "VIDEO", "urn:x-nmos:format:audio": "AUDIO"}

Row = dict[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SOURCES = "SELECT id, label, format FROM sources ORDER BY created DESC, id DESC LIMIT 20"
_FLOWS_OF_SOURCE = """SELECT id, label, format, codec FROM flows WHERE source_id = ?
                      ORDER BY created DESC, id DESC LIMIT 3"""
_WINDOW = """
    SELECT {columns} FROM segments
    WHERE flow_id = ?1
      AND start_ns >= coalesce((SELECT start_ns FROM segments
                                WHERE flow_id = ?1 AND start_ns <= ?2
                                ORDER BY start_ns DESC LIMIT 1), ?2)
      AND end_ns > ?2 AND start_ns < ?3
    ORDER BY start_ns LIMIT ?4"""
_SEGMENTS = _WINDOW.format(
    columns="id, object_id, timerange, ts_offset_ns, sample_count, key_frame_count, created"
)
_OBJECTS = """SELECT id, size, content_type, timerange, created FROM objects
              WHERE id IN (SELECT value FROM json_each(?))"""
_WHOLE_FLOW = _WINDOW.format(
    columns="id, object_id, timerange, ts_offset_ns, last_duration_ns, sample_offset,"
    " sample_count, key_frame_count, created, tags"
)
_FLOW = "SELECT id FROM flows WHERE id = ?"
_SOURCE = """SELECT id, format, label, description, tags, created, updated, version
             FROM sources WHERE id = ?"""
_FLOWS = """
    SELECT id, format, label, codec, container, max_bit_rate, created, metadata_updated, tags, body
    FROM flows WHERE format = ? AND id IN (
        SELECT id FROM tag_index
        WHERE kind = 'flow' AND name = 'genre' AND ordinal >= 0 AND value = ?)
    ORDER BY created DESC, id DESC LIMIT 100"""


def timestamp(ns: int) -> str:
    """Media time as text."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{ns // 1_000_000_000}:{ns % 1_000_000_000}"


def moment(us: int) -> str:
    """Record time as text."""
    return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds") + "Z"


def tags(text: str | None) -> list[Row]:
    """Stored tags as they are shown."""
    if text is None:
        return []
    return [
        {"name": name, "values": [value] if isinstance(value, str) else value}
        for name, value in orjson.loads(text).items()
    ]


class Floor:
    """The four answers, and the ASGI application that gives them."""

    def __init__(self, catalog: Path) -> None:
        self._db = sqlite3.connect(f"file:{catalog}?mode=ro", uri=True, isolation_level=None)
        for pragma in ("query_only = ON", "mmap_size = 1073741824", "cache_size = -65536"):
            self._db.execute(f"PRAGMA {pragma}")
        self._answers: dict[str, Callable[..., Row]] = {
            "/Q1": self.sources_to_objects,
            "/Q2": self.flow_of_segments,
            "/Q3": self.source_by_id,
            "/Q4": self.flows_by_tag,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        answer = self._answers.get(scope["path"])
        data = b"" if answer is None else orjson.dumps({"data": answer(**orjson.loads(body))})
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(data)),
        ]
        status = 404 if answer is None else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": data})

    def sources_to_objects(self, start_ns: int) -> Row:
        """Q1: sources, their flows, segments from a time on, the object of each."""
        segments: list[Row] = []
        sources = [
            {
                "id": source_id,
                "label": label,
                "format": _FORMATS[format],
                "flows": {"nodes": self._flows_of(source_id, start_ns, segments)},
            }
            for source_id, label, format in self._db.execute(_SOURCES).fetchall()
        ]
        wanted = orjson.dumps(list({segment["objectId"] for segment in segments})).decode()
        objects = {
            object_id: {
                "id": object_id,
                "size": size,
                "contentType": content_type,
                "timerange": timerange,
                "created": moment(created),
            }
            for object_id, size, content_type, timerange, created in self._db.execute(
                _OBJECTS, (wanted,)
            )
        }
        for segment in segments:
            segment["object"] = objects[segment["objectId"]]
        return {"sources": {"nodes": sources}}

    def _flows_of(self, source_id: str, start_ns: int, segments: list[Row]) -> list[Row]:
        """The flows of a source; their segments are added to ``segments`` as well."""
        flows = []
        for flow_id, label, format, codec in self._db.execute(_FLOWS_OF_SOURCE, (source_id,)):
            found = [
                {
                    "id": segment_id,
                    "objectId": object_id,
                    "timerange": timerange,
                    "tsOffset": timestamp(offset),
                    "sampleCount": samples,
                    "keyFrameCount": frames,
                    "created": moment(created),
                }
                for segment_id, object_id, timerange, offset, samples, frames, created in (
                    self._db.execute(_SEGMENTS, (flow_id, start_ns, _LATEST_NS, 50))
                )
            ]
            segments += found
            flow = {"id": flow_id, "label": label, "format": _FORMATS[format], "codec": codec}
            flows.append({**flow, "segments": {"nodes": found}})
        return flows

    def flow_of_segments(self, id: str) -> Row:
        """Q2: the segments of one flow."""
        (flow_id,) = self._db.execute(_FLOW, (id,)).fetchone()
        rows = self._db.execute(_WHOLE_FLOW, (id, -_LATEST_NS, _LATEST_NS, 1000))
        segments = [_whole_segment(*row) for row in rows]
        return {"flow": {"id": flow_id, "segments": {"nodes": segments}}}

    def source_by_id(self, id: str) -> Row:
        """Q3: one source."""
        row = self._db.execute(_SOURCE, (id,)).fetchone()
        source_id, format, label, description, tagged, created, updated, version = row
        return {
            "source": {
                "id": source_id,
                "format": _FORMATS[format],
                "label": label,
                "description": description,
                "tags": tags(tagged),
                "created": moment(created),
                "updated": moment(updated),
                "version": version,
            }
        }

    def flows_by_tag(self, genre: str) -> Row:
        """Q4: video flows with a tag."""
        rows = self._db.execute(_FLOWS, ("urn:x-nmos:format:video", genre)).fetchall()
        return {"flows": {"nodes": [_video_flow(*row) for row in rows]}}


def _whole_segment(
    id: str,
    object_id: str,
    timerange: str,
    offset_ns: int,
    duration_ns: int | None,
    sample_offset: int | None,
    sample_count: int | None,
    key_frames: int | None,
    created: int,
    tagged: str | None,
) -> Row:
    return {
        "id": id,
        "objectId": object_id,
        "timerange": timerange,
        "tsOffset": timestamp(offset_ns),
        "lastDuration": None if duration_ns is None else timestamp(duration_ns),
        "sampleOffset": sample_offset,
        "sampleCount": sample_count,
        "keyFrameCount": key_frames,
        "created": moment(created),
        "tags": tags(tagged),
    }


def _video_flow(
    id: str,
    format: str,
    label: str,
    codec: str,
    container: str,
    bit_rate: int,
    created: int,
    updated: int,
    tagged: str,
    body: str,
) -> Row:
    essence = orjson.loads(body)["essence_parameters"]
    rate = essence["frame_rate"]
    return {
        "id": id,
        "format": _FORMATS[format],
        "label": label,
        "codec": codec,
        "container": container,
        "maxBitRate": bit_rate,
        "created": moment(created),
        "metadataUpdated": moment(updated),
        "tags": tags(tagged),
        "essenceParameters": {
            "frameWidth": essence["frame_width"],
            "frameHeight": essence["frame_height"],
            "frameRate": {
                "numerator": rate["numerator"],
                "denominator": rate.get("denominator", 1),
            },
        },
    }


@click.command()
@click.option("--catalog", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--port", required=True, type=int)
def main(catalog: Path, port: int) -> None:
    """Serve a catalog file until a signal comes."""
    uvicorn.run(
        Floor(catalog),
        host="127.0.0.1",
        port=port,
        loop="auto",
        http="auto",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_level="warning",
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
