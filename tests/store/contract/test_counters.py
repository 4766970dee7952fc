"""Counters, reference counts and events after any history, against recomputation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tams_gql.store.changes import AddSegments, ChangeSet, Delete, Expect, RemoveSegments, Stale
from tams_gql.store.port import CatalogStore
from tams_gql.store.scan import eq
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, OBJECTS, SEGMENTS
from tests.store import ask, build, naive
from tests.store.backends import Backend

_FLOWS = ("f", "g")
_SIZES = {"a": 100, "b": 7, "c": None}

_moments = st.integers(-30, 30)
_spans = st.tuples(_moments, st.integers(1, 15)).map(lambda s: (s[0], s[0] + s[1]))
_segments = st.lists(st.tuples(_spans, st.sampled_from(sorted(_SIZES))), min_size=1, max_size=4)
_flows = st.sampled_from(_FLOWS)
_windows = st.tuples(_moments, _moments).map(sorted)
_objects = st.none() | st.sampled_from(sorted(_SIZES))


@dataclass
class _Flow:
    """What a flow's history should have left behind."""

    segments: dict[tuple[int, int], str] = field(default_factory=dict)
    longest: int = 0
    updated: int | None = None

    def fits(self, batch: list[tuple[tuple[int, int], str]]) -> bool:
        spans = [*self.segments, *(span for span, _ in batch)]
        return not any(naive.overlap(a, b) for a, b in combinations(spans, 2))

    def add(self, batch: list[tuple[tuple[int, int], str]], now_us: int) -> None:
        self.segments |= dict(batch)
        self.longest = max(self.longest, *(end - start for (start, end), _ in batch))
        self.updated = now_us

    def inside(self, start: int, end: int, object_id: str | None) -> list[tuple[int, int]]:
        return sorted(
            span
            for span, used in self.segments.items()
            if span[0] >= start and span[1] <= end and object_id in (None, used)
        )

    def remove(self, spans: list[tuple[int, int]], now_us: int) -> list[str]:
        objects = [self.segments.pop(span) for span in spans]
        if spans:
            self.updated = now_us
        if not self.segments:
            self.longest = 0
        return objects

    def counters(self, flow_id: str) -> tuple[Any, ...]:
        starts, ends = [s for s, _ in self.segments], [e for _, e in self.segments]
        return (
            flow_id,
            len(self.segments),
            sum(ends) - sum(starts),
            sum(_SIZES[used] or 0 for used in self.segments.values()),
            min(starts, default=None),
            max(ends, default=None),
            self.longest,
            self.updated,
        )


class _Histories(RuleBasedStateMachine):
    """Adds and removes segments in every combination that a change set allows."""

    new_backend: Callable[[], Backend]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store: CatalogStore = self.run(type(self).new_backend().open())
        self.flows = {flow_id: _Flow() for flow_id in _FLOWS}
        self.bodies: list[dict[str, Any]] = []
        self.now_us = build.NOW
        self.orphaned: dict[str, int | None] = dict.fromkeys(_SIZES)
        self.commit(insert=[*build.flows(*_FLOWS), build.objects(*_SIZES)])

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def commit(self, **parts: Any) -> tuple[int, ...]:
        done = self.run(self.store.commit(ChangeSet(now_us=self.now_us, **parts)))
        removed: tuple[int, ...] = done.removed
        return removed

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()

    @rule(flow_id=_flows, batch=_segments)
    def add(self, flow_id: str, batch: list[tuple[tuple[int, int], str]]) -> None:
        self.change({flow_id: batch}, [])

    @rule(flow_id=_flows, window=_windows, object_id=_objects)
    def remove(self, flow_id: str, window: list[int], object_id: str | None) -> None:
        self.change({}, [(flow_id, window, object_id)])

    @rule(
        added=st.dictionaries(_flows, _segments),
        removed=st.lists(st.tuples(_flows, _windows, _objects), max_size=3),
    )
    def change(
        self,
        added: dict[str, list[tuple[tuple[int, int], str]]],
        removed: list[tuple[str, list[int], str | None]],
    ) -> None:
        self.now_us += 1
        after = {i: _Flow(dict(f.segments), f.longest, f.updated) for i, f in self.flows.items()}
        bodies: list[dict[str, Any]] = []
        counts, released = [], []
        for flow_id, (start, end), object_id in removed:
            inside = after[flow_id].inside(start, end, object_id)
            released += after[flow_id].remove(inside, self.now_us)
            counts.append(len(inside))
            if inside:
                bounds = {"start_ns": inside[0][0], "end_ns": inside[-1][1]}
                bodies.append({"of": flow_id, "segment_count": len(inside), **bounds})
        parts: dict[str, Any] = {
            "remove_segments": [
                RemoveSegments(f, start, end, o, build.event(orjson.dumps({"of": f}).decode()))
                for f, (start, end), o in removed
            ],
            "add_segments": [self._addition(f, batch) for f, batch in added.items()],
            "events": [build.event('{"last":true}')],
        }
        if not all(after[flow_id].fits(batch) for flow_id, batch in added.items()):
            self.refused(**parts)
            return
        for flow_id, batch in added.items():
            after[flow_id].add(batch, self.now_us)
        assert self.commit(**parts) == tuple(counts)
        self.flows = after
        self.bodies += [*bodies, {"last": True}]
        self.release(released)
        self.check()

    @rule(flow_id=_flows)
    def begin_again(self, flow_id: str) -> None:
        """Delete a flow with all it has, and make it anew."""
        self.now_us += 1
        removal = RemoveSegments(flow_id, -1_000, 1_000)
        removed = self.commit(
            remove_segments=[removal],
            delete=[Delete(FLOWS, (eq("id", flow_id),))],
            insert=build.flows(flow_id),
        )
        assert removed == (len(self.flows[flow_id].segments),)
        released = list(self.flows[flow_id].segments.values())
        self.flows[flow_id] = _Flow()
        self.release(released)
        self.check()

    @rule(flow_id=_flows, window=_windows, batch=_segments)
    def rely_on_what_is_not_so(
        self, flow_id: str, window: list[int], batch: list[tuple[tuple[int, int], str]]
    ) -> None:
        self.refused(
            expect=[Expect(FLOW_COUNTERS, (flow_id,), {"segment_count": -1})],
            remove_segments=[RemoveSegments(flow_id, window[0], window[1], None, build.event())],
            add_segments=[self._addition(flow_id, batch)],
        )

    def release(self, objects: list[str]) -> None:
        """Note since when the objects that lost a user have none."""
        references = self.references()
        self.orphaned |= dict.fromkeys(objects, self.now_us)
        self.orphaned |= dict.fromkeys(references)

    def references(self) -> Counter[str]:
        return Counter(used for flow in self.flows.values() for used in flow.segments.values())

    def refused(self, **parts: Any) -> None:
        try:
            self.commit(**parts)
        except Stale:
            self.check()
        else:
            raise AssertionError("the change set had to be refused")

    def _addition(self, flow_id: str, batch: list[tuple[tuple[int, int], str]]) -> AddSegments:
        return AddSegments(
            flow_id,
            tuple(
                build.segment(flow_id, *span, object_id=used, size=_SIZES[used])
                for span, used in batch
            ),
        )

    def check(self) -> None:
        found = self.run(ask.everything(self.store))
        segments = sorted(
            (flow_id, *span, used)
            for flow_id, flow in self.flows.items()
            for span, used in flow.segments.items()
        )
        references = self.references()
        place = SEGMENTS.columns.index("object_id")
        assert [(*row[:3], row[place]) for row in found["segments"]] == segments
        assert found["flow_counters"] == [f.counters(i) for i, f in self.flows.items()]
        objects = [dict(zip(OBJECTS.columns, row, strict=True)) for row in found["objects"]]
        assert {o["id"]: (o["ref_count"], o["orphaned"]) for o in objects} == {
            object_id: (references[object_id], self.orphaned[object_id]) for object_id in _SIZES
        }
        assert [orjson.loads(row[-1]) for row in found["events"]] == self.bodies


def test_counters_say_what_is_stored(backend_name: str, new_backend: Callable[[], Backend]) -> None:
    class Histories(_Histories):
        pass

    Histories.new_backend = staticmethod(new_backend)
    histories = 20 if backend_name == "embedded" else 6  # each step there is several calls
    run_state_machine_as_test(
        Histories, settings=settings(max_examples=histories, stateful_step_count=15, deadline=None)
    )
