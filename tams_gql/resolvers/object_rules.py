"""What the objects of new segments must fulfil (TAMS 8.2, POST segments).

``ObjectLedger`` knows the objects that one registration touches, in the state they will have after
the segments accepted so far, so that items of one request may build on each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from tams_gql.loaders.urls import instances_of
from tams_gql.media.port import ObjectLocation, ObjectStat
from tams_gql.model.errors import BadInput, Conflict
from tams_gql.model.ids import is_same_container
from tams_gql.model.segment import NewSegment
from tams_gql.model.time import TimeRange
from tams_gql.resolvers.documents import to_json_text
from tams_gql.store.records import FlowRecord, ObjectRecord

MEDIA, INIT = "media", "init"

# One cell of the objects table; cells stay below 128 KiB.
MAX_INSTANCES_BYTES = 64 * 1024
MAX_INSTANCES = 64


@dataclass(frozen=True, slots=True)
class ObjectUse:
    """What accepting one segment does to the ledger."""

    media: ObjectRecord
    init: ObjectRecord | None


def stored_instance(location: ObjectLocation, stat: ObjectStat | None) -> dict[str, Any]:
    """A copy in our storage as kept with its object, with the checksums the storage has of it."""
    instance: dict[str, Any] = {"storage_id": location.storage_id, "key": location.key}
    if stat is not None and stat.checksums:
        instance["checksums"] = dict(sorted(stat.checksums.items()))
    return instance


class ObjectLedger:
    """The objects of one registration."""

    def __init__(
        self,
        flow: FlowRecord,
        known: Iterable[ObjectRecord | None],
        uploaded: dict[str, ObjectStat] | None,
        backend_labels: frozenset[str],
        now_us: int,
    ) -> None:
        """``uploaded`` holds what was found in storage; None leaves the check out."""
        self._flow = flow
        self._before = {row.id: row for row in known if row is not None}
        self._now = dict(self._before)
        self._uploaded = uploaded
        self._backend_labels = backend_labels
        self._now_us = now_us

    def check(self, segment: NewSegment, path: str) -> ObjectUse:
        """What using the segment's object means; ``BadInput`` or ``Conflict`` if it may not be."""
        row = self._now.get(segment.object_id)
        if row is not None and row.role == INIT:
            raise Conflict(
                f"{path}.object_id: {row.id} is an initialisation object, not a media object",
                field=f"{path}.object_id",
            )
        if row is not None and row.role == MEDIA:
            self._check_type(row, row.content_type, f"{path}.object_id")
            _check_reuse(row, segment, path)
            media, init = row, None
        else:
            media = self._new_media(row, segment, path)
            init = self._init_of(segment, path)
        _check_inside(media, segment, path)
        self._check_init_rule(media, path)
        return ObjectUse(media, init)

    def accept(self, use: ObjectUse) -> None:
        """Take a checked use into the ledger."""
        self._now[use.media.id] = use.media
        if use.init is not None:
            self._now[use.init.id] = use.init

    def touched(
        self, object_ids: Iterable[str]
    ) -> Iterable[tuple[ObjectRecord | None, ObjectRecord]]:
        """Each named object before and after, once."""
        for object_id in dict.fromkeys(object_ids):
            if (after := self._now.get(object_id)) is not None:
                yield self._before.get(object_id), after

    def _new_media(self, row: ObjectRecord | None, segment: NewSegment, path: str) -> ObjectRecord:
        timerange = _object_timerange(segment)
        instances = [{"url": u.url, "label": u.label} for u in segment.get_urls]
        self._check_labels(segment, path)
        if row is None:
            if not instances:
                raise BadInput(
                    f"{path}.object_id: {segment.object_id} is unknown; allocate storage for it"
                    " or give it URLs of its own",
                    field=f"{path}.object_id",
                )
            base = self._external(segment.object_id)
        else:
            base = self._stored(row, f"{path}.object_id")
            self._check_type(row, base.content_type, f"{path}.object_id")
            instances = [*orjson.loads(base.instances), *instances]
        text = to_json_text(instances)
        if len(text) > MAX_INSTANCES_BYTES:
            raise BadInput(
                f"{path}.get_urls: the copies of an object take {len(text)} bytes as JSON; at most"
                f" {MAX_INSTANCES_BYTES}",
                field=f"{path}.get_urls",
            )
        return base._replace(
            role=MEDIA,
            timerange=timerange.text,
            start_ns=timerange.start_ns,
            end_ns=timerange.end_ns,
            init_object_id=segment.init_object_id,
            key_frame_count=segment.key_frame_count,
            instances=text,
        )

    def _init_of(self, segment: NewSegment, path: str) -> ObjectRecord | None:
        if segment.init_object_id is None:
            return None
        field = f"{path}.init_object_id"
        row = self._now.get(segment.init_object_id)
        if row is None:
            raise BadInput(f"{field}: object {segment.init_object_id} is unknown", field=field)
        if row.role == MEDIA:
            raise Conflict(
                f"{field}: {row.id} is a media object, not an initialisation object", field=field
            )
        if row.role == INIT:
            return None
        return self._stored(row, field)._replace(role=INIT)

    def _external(self, object_id: str) -> ObjectRecord:
        return ObjectRecord(
            id=object_id,
            role=None,
            size=None,
            content_type=self._flow.container,
            timerange=None,
            start_ns=None,
            end_ns=None,
            init_object_id=None,
            key_frame_count=None,
            instances="[]",
            created=self._now_us,
            registered=self._now_us,
            expires=None,
            allocated_flow_id=None,
            first_flow_id=self._flow.id,
            ref_count=0,
            orphaned=None,
        )

    def _stored(self, row: ObjectRecord, field: str) -> ObjectRecord:
        """An allocated object whose bytes have arrived."""
        if row.allocated_flow_id != self._flow.id:
            raise BadInput(f"{field}: {row.id} was allocated for another flow", field=field)
        registered = _registered(row, self._now_us, self._flow.id)
        if self._uploaded is None:
            return registered
        stat = self._uploaded.get(row.id)
        if stat is None:
            raise BadInput(f"{field}: the bytes of {row.id} have not been uploaded", field=field)
        found = stat.content_type or row.content_type
        kept = [
            stored_instance(ObjectLocation(i["storage_id"], i["key"]), stat)
            for i in orjson.loads(row.instances)
        ]
        return registered._replace(size=stat.size, content_type=found, instances=to_json_text(kept))

    def _check_type(self, row: ObjectRecord, found: str | None, field: str) -> None:
        # Schema `flow-segment-post`: a media object has the type of the flow's container.
        if not is_same_container(found, self._flow.container):
            how = "was uploaded as" if row.role is None else "is"
            raise BadInput(
                f"{field}: {row.id} {how} {found}, but the flow's container is"
                f" {self._flow.container}",
                field=field,
            )

    def _check_labels(self, segment: NewSegment, path: str) -> None:
        for url in segment.get_urls:
            if url.label in self._backend_labels:
                raise BadInput(
                    f"{path}.get_urls: the label {url.label!r} belongs to a storage backend",
                    field=f"{path}.get_urls",
                )

    def _check_init_rule(self, media: ObjectRecord, path: str) -> None:
        # Essence parameter `init_segments`: all objects of the flow have one, or none has.
        wanted = bool(self._flow.init_segments)
        if wanted == (media.init_object_id is not None):
            return
        field = f"{path}.init_object_id"
        reason = (
            "is required, because the flow has init_segments"
            if wanted
            else "is not allowed, because the flow does not have init_segments"
        )
        raise BadInput(f"{field}: {reason}", field=field)


def _registered(row: ObjectRecord, now_us: int, flow_id: str) -> ObjectRecord:
    """An allocated object at its registration."""
    return row._replace(registered=now_us, expires=None, first_flow_id=row.first_flow_id or flow_id)


def _object_timerange(segment: NewSegment) -> TimeRange:
    """On the object's own timeline; by default the segment uses the whole object."""
    if segment.object_timerange is not None:
        return segment.object_timerange
    if segment.ts_offset_ns == 0:
        return segment.timerange
    return segment.timerange.shifted(-segment.ts_offset_ns)


def _check_inside(media: ObjectRecord, segment: NewSegment, path: str) -> None:
    # POST segments: once offset, the segment must lie entirely inside the object.
    start = segment.timerange.start_ns - segment.ts_offset_ns
    end = segment.timerange.end_ns - segment.ts_offset_ns
    if media.start_ns is None or media.end_ns is None:
        return
    if start < media.start_ns or end > media.end_ns:
        used = TimeRange.between(start, end).text
        raise BadInput(
            f"{path}.timerange: {segment.timerange.text} uses {used} of object {media.id}, which"
            f" only has {media.timerange}",
            field=f"{path}.timerange",
        )


def _check_reuse(row: ObjectRecord, segment: NewSegment, path: str) -> None:
    """A registered object keeps its properties, so those given again must be the same."""
    given, kept = segment.object_timerange, (row.start_ns, row.end_ns)
    if given is not None and (given.start_ns, given.end_ns) != kept:
        raise _changed(f"{path}.object_timerange", given.text, row.timerange)
    if segment.key_frame_count not in (None, row.key_frame_count):
        raise _changed(f"{path}.key_frame_count", segment.key_frame_count, row.key_frame_count)
    if segment.init_object_id not in (None, row.init_object_id):
        raise _changed(f"{path}.init_object_id", segment.init_object_id, row.init_object_id)
    known = {(instance.url, instance.label) for instance in instances_of(row)}
    for url in segment.get_urls:
        if (url.url, url.label) not in known:
            given_url = f"{url.url} with the label {url.label!r}"
            raise _changed(f"{path}.get_urls", given_url, "other instances")


def _changed(field: str, given: object, kept: object) -> Conflict:
    return Conflict(f"{field}: {given} is refused; the object already has {kept}", field=field)
