"""Ids, labels and tags of a file's flows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from tams_gql.ingest.codecs import CONTAINER_TYPES, Container
from tams_gql.ingest.flows import FlowSpec, Member, Tags
from tams_gql.ingest.ids import IdMaker, file_identity
from tams_gql.ingest.options import IngestOptions
from tams_gql.ingest.plan import StreamPlan
from tams_gql.ingest.scan import StreamScan


def as_text(name: str) -> str:
    """A file name or argument as text; what is not UTF-8 in it becomes U+FFFD, as JSON needs."""
    return os.fsencode(name).decode("utf-8", "replace")


class Naming(Protocol):
    """Decides what a file's flows are called: one spec a stream, then the multi flow, if any."""

    def name(self, streams: Sequence[StreamPlan]) -> list[FlowSpec]:
        """The flows of ``streams``, in their order; a multi flow comes last."""


class FileNaming:
    """Names by the file's content: a second run, or a copy of the file, gives the same ids."""

    def __init__(self, path: Path, options: IngestOptions) -> None:
        self._ids = IdMaker(options.namespace, file_identity(path), options.start_ns)
        self._label = as_text(options.label or path.stem)
        self._container: Container = options.container
        self._duration: Fraction = options.duration
        self._tags: Tags = {"ingested_by": ["tams-gql"], "file_name": [as_text(path.name)]}

    def name(self, streams: Sequence[StreamPlan]) -> list[FlowSpec]:
        """See ``Naming``. A file with one stream gets no multi flow."""
        kinds = ["video" if plan.scan.is_video else "audio" for plan in streams]
        specs = []
        for position, (plan, kind) in enumerate(zip(streams, kinds, strict=True)):
            number = kinds[: position + 1].count(kind)
            shown = kind if kinds.count(kind) == 1 else f"{kind} {number}"
            specs.append(self._mono(plan.scan, kind, shown))
        if len(specs) > 1:
            specs.append(self._multi(specs))
        return specs

    def _mono(self, scan: StreamScan, kind: str, shown: str) -> FlowSpec:
        part = f"stream {scan.index}"
        language = f", {scan.language}" if scan.language else ""
        return FlowSpec(
            id=self._ids.flow_id(part, self._container, self._duration),
            source_id=self._ids.source_id(part),
            label=f"{self._label} ({shown}{language})",
            essence=scan.essence,
            container=CONTAINER_TYPES[self._container],
            segment_duration=self._duration,
            init_segments=self._container == "fmp4",
            role=kind,
            tags={**self._tags, **({"language": [scan.language]} if scan.language else {})},
        )

    def _multi(self, specs: Sequence[FlowSpec]) -> FlowSpec:
        return FlowSpec(
            id=self._ids.flow_id("multi", self._container, self._duration),
            source_id=self._ids.source_id("multi"),
            label=self._label,
            tags=self._tags,
            members=[Member(spec.id, spec.role) for spec in specs],
        )
