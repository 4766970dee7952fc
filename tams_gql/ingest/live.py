"""The live source: runs on the wall clock until it is stopped, and goes on after a restart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Final, Protocol

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.codecs import CONTAINER_TYPES, Container
from tams_gql.ingest.flows import INGESTING, FlowSpec, Member, put_missing
from tams_gql.ingest.ids import IdMaker
from tams_gql.ingest.live_segments import SEGMENT_SECONDS, LiveMaker
from tams_gql.ingest.live_sender import LiveFlows, LiveSender
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.progress import Observer
from tams_gql.model.errors import Conflict, TamsError
from tams_gql.model.time import NS, format_timestamp

DEFAULT_LABEL: Final = "Live test card"
WAITING: Final = "AWAITING_CONTENT"

_LONGEST_LAG_NS: Final = 4 * NS
_FAREST_START_NS: Final = 10 * NS
_LAST_WORDS_SECONDS: Final = 1.0


class Clock(Protocol):
    """Wall-clock time, and waiting by it."""

    def now_ns(self) -> int:
        """Nanoseconds of UTC since 1970."""

    def wait_until(self, due_ns: int) -> bool:
        """Wait until then; True when the source is to stop."""


class WallClock:
    """The machine's clock; ``stop`` ends every wait."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop

    def now_ns(self) -> int:
        """See ``Clock``."""
        return time.time_ns()

    def wait_until(self, due_ns: int) -> bool:
        """See ``Clock``."""
        return self._stop.wait(max(0, due_ns - time.time_ns()) / NS)


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How the live source is stored; ``window_ns`` keeps only the newest stretch."""

    label: str = DEFAULT_LABEL
    window_ns: int | None = None


def live_flows(options: IngestOptions, live: LiveOptions) -> list[FlowSpec]:
    """The video, the audio and the multi flow of the live source, their essence still open."""
    container: Container = options.container
    duration = Fraction(SEGMENT_SECONDS)
    ids = IdMaker(options.namespace, f"live:{live.label}", 0)
    tags = {"ingested_by": ["tams-gql"], "genre": ["test card"], "live": ["true"]}
    monos = [
        FlowSpec(
            id=ids.flow_id(kind, container, duration),
            source_id=ids.source_id(kind),
            label=f"{live.label} ({kind})",
            description=description,
            container=CONTAINER_TYPES[container],
            segment_duration=duration,
            init_segments=container == "fmp4",
            role=kind,
            tags=tags,
        )
        for kind, description in (
            ("video", "Colour bars with the time of day burnt in, one segment every 2 seconds"),
            ("audio", "A quiet tone with a beep at every full second"),
        )
    ]
    multi = FlowSpec(
        id=ids.flow_id("multi", container, duration),
        source_id=ids.source_id("multi"),
        label=live.label,
        description="Generated live source; its timeline is UTC since 1970",
        tags=tags,
        members=[Member(spec.id, spec.role) for spec in monos],
    )
    return [*monos, multi]


def run_live(
    catalog: Catalog,
    options: IngestOptions,
    live: LiveOptions,
    observer: Observer,
    clock: Clock,
) -> None:
    """Append a segment every two seconds to the live source's flows, until told to stop.

    Starts at "now" rounded up to even seconds: after a pause the flows have a gap. Raises the
    server's errors, but waits for a server that is only away.
    """
    specs = live_flows(options, live)
    with TemporaryDirectory(prefix="tams-live-") as folder:
        _put_flows(catalog, specs, options.container, Path(folder))
        flows = LiveFlows(specs[0].id, specs[1].id)
        sender = LiveSender(catalog, flows, live.window_ns, observer)
        observer.begin(live.label, None)
        try:
            while not _run_once(catalog, flows, options.container, sender, clock, Path(folder)):
                observer.note("fell behind the clock: going on at the present time")
        finally:
            sender.close(_LAST_WORDS_SECONDS)


def _put_flows(
    catalog: Catalog, specs: Sequence[FlowSpec], container: Container, folder: Path
) -> None:
    maker = LiveMaker(0, container, folder)
    essences = maker.essences()
    maker.close()
    monos = [replace(s, essence=e) for s, e in zip(specs[:2], essences, strict=True)]
    status = put_missing(catalog, [*monos, *specs[2:]])
    for flow_id, state in status.items():
        if state != INGESTING:
            catalog.patch_flow(flow_id, status=INGESTING)


def _run_once(
    catalog: Catalog,
    flows: LiveFlows,
    container: Container,
    sender: LiveSender,
    clock: Clock,
    folder: Path,
) -> bool:
    """Run until told to stop (True) or too far behind the clock (False)."""
    maker = LiveMaker(_start_seconds(catalog, flows, clock.now_ns()), container, folder)
    try:
        while True:
            # A picture is made when it has been shown, as from a camera.
            if clock.wait_until(maker.due_ns):
                return True
            if clock.now_ns() - maker.due_ns > _LONGEST_LAG_NS:
                return False
            for segment in maker.picture():
                sender.send(segment)
    finally:
        maker.close()


def _start_seconds(catalog: Catalog, flows: LiveFlows, now_ns: int) -> int:
    """The next even second that neither lies in the past nor in what is registered."""
    earliest = now_ns
    for flow_id in (flows.video, flows.audio):
        state = catalog.flow(flow_id)
        if state is not None and state.timerange is not None:
            earliest = max(earliest, state.timerange.end_ns)
            if earliest - now_ns > _FAREST_START_NS:
                raise Conflict(
                    f"flow {flow_id} already reaches {format_timestamp(earliest)}, "
                    f"which is later than now, {format_timestamp(now_ns)}"
                )
    step = SEGMENT_SECONDS * NS
    return -(-earliest // step) * SEGMENT_SECONDS


def mark_waiting(catalog: Catalog, options: IngestOptions, live: LiveOptions) -> None:
    """Say, if the server still answers, that the flows get no content at present."""
    for spec in live_flows(options, live):
        try:
            catalog.patch_flow(spec.id, status=WAITING)
        except TamsError:
            return
