"""The demo: a programme to browse, and a live source that grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Final

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.codecs import CONTAINER_TYPES
from tams_gql.ingest.files import Outcome, ingest_file
from tams_gql.ingest.flows import COMPLETE, FlowSpec, Member
from tams_gql.ingest.generate import generate_programme
from tams_gql.ingest.ids import IdMaker
from tams_gql.ingest.live import Clock, LiveOptions, WallClock, run_live
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.plan import StreamPlan
from tams_gql.ingest.progress import Observer, Silent
from tams_gql.ingest.transport import Transport

LABEL: Final = "Demo programme"
LIVE_LABEL: Final = "Demo live channel"

_DURATION: Final = Fraction(2)


@dataclass(frozen=True, slots=True)
class _Part:
    """One flow of the programme. The proxy shares the video's source."""

    name: str
    source: str
    role: str
    description: str
    generation: int = 0


_PARTS: Final = (
    _Part("video", "video", "video", "Test card in 640 by 360 pixels, closed GOPs of 2 seconds"),
    _Part("proxy", "video", "proxy", "The same pictures in 320 by 180 pixels", generation=1),
    _Part("audio", "audio", "audio", "A quiet stereo tone with a beep at every full second"),
)


class DemoNaming:
    """Fixed ids, labels and tags, whatever bytes an encoder makes."""

    def __init__(self, options: IngestOptions) -> None:
        self._ids = IdMaker(options.namespace, "demo:programme", options.start_ns)
        self._options = options
        self._tags = {
            "ingested_by": ["tams-gql"],
            "genre": ["test card"],
            "demo": ["true"],
        }

    def _flow_id(self, part: str) -> str:
        return self._ids.flow_id(part, self._options.container, self._options.duration)

    def flow_ids(self) -> list[str]:
        """Ids of all flows of the programme."""
        return [*(self._flow_id(part.name) for part in _PARTS), self._flow_id("multi")]

    def name(self, streams: Sequence[StreamPlan]) -> list[FlowSpec]:
        """See ``Naming``."""
        monos = [self._mono(part, p) for part, p in zip(_PARTS, streams, strict=True)]
        multi = FlowSpec(
            id=self._flow_id("multi"),
            source_id=self._ids.source_id("multi"),
            label=LABEL,
            description="A generated minute of test card with clock and beeps",
            tags=self._tags,
            members=[Member(spec.id, spec.role) for spec in monos],
        )
        return [*monos, multi]

    def _mono(self, part: _Part, plan: StreamPlan) -> FlowSpec:
        return FlowSpec(
            id=self._flow_id(part.name),
            source_id=self._ids.source_id(part.source),
            label=f"{LABEL} ({part.name})",
            description=part.description,
            essence=plan.scan.essence,
            container=CONTAINER_TYPES[self._options.container],
            segment_duration=self._options.duration,
            init_segments=self._options.container == "fmp4",
            role=part.role,
            tags=self._tags,
            generation=part.generation,
        )


def store_programme(catalog: Catalog, options: IngestOptions, observer: Observer) -> Outcome | None:
    """Generate and store the demo programme; None when the catalog has all of it already."""
    options = replace(options, duration=_DURATION)
    naming = DemoNaming(options)
    states = map(catalog.flow, naming.flow_ids())
    if all(state is not None and state.status == COMPLETE for state in states):
        return None
    with TemporaryDirectory(prefix="tams-demo-") as folder:
        path = Path(folder) / "demo programme.mp4"
        generate_programme(path)
        return ingest_file(catalog, path, options, observer, naming, LABEL)


def play_demo(
    catalog: Catalog,
    options: IngestOptions,
    observer: Observer,
    clock: Clock,
    window_ns: int | None = None,
) -> None:
    """Store the demo programme unless it is there, then run the demo's live source.

    Returns when ``clock`` says stop. ``window_ns`` limits the live source's length.
    """
    outcome = store_programme(catalog, options, observer)
    if outcome is None:
        observer.note(f"{LABEL}: already stored")
    else:
        observer.end(f"{LABEL}: {outcome.stored} segments stored, {outcome.known} were there")
    run_live(catalog, options, LiveOptions(LIVE_LABEL, window_ns), observer, clock)


def run_demo(
    url: str,
    *,
    stop: Event,
    observer: Observer | None = None,
    options: IngestOptions | None = None,
    token: str | None = None,
    window_ns: int | None = None,
) -> None:
    """Play the demo against the server at ``url`` until ``stop`` is set.

    Raises the ``TamsError`` of what the server refuses.
    """
    with Transport(url, token=token) as transport:
        play_demo(
            Catalog(transport),
            options or IngestOptions(),
            observer or Silent(),
            WallClock(stop),
            window_ns,
        )
