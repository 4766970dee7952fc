"""The flows of one programme: what is put into the catalog before segments arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.bit_rate import BitRates
from tams_gql.ingest.essence import Essence, JsonObject, VideoEssence, rational
from tams_gql.model.errors import Conflict

INGESTING: Final = "INGESTING"
COMPLETE: Final = "CLOSED_COMPLETE"

Tags = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Member:
    """A flow in a multi flow's collection; ``mapping`` is a ``ContainerMappingInput``."""

    flow_id: str
    role: str
    mapping: JsonObject | None = None

    def to_input(self) -> JsonObject:
        """The ``FlowMemberInput`` of this member."""
        fields: JsonObject = {"flowId": self.flow_id, "role": self.role}
        if self.mapping is not None:
            fields["containerMapping"] = self.mapping
        return fields


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """A flow to be created. ``essence`` None makes it a multi flow.

    ``container`` is the media type of its segments; None says that it has none of its own.
    ``segment_duration`` is the target in seconds. ``init_segments`` says that its objects need an
    initialisation segment.
    """

    id: str
    source_id: str
    label: str
    essence: Essence | None = None
    container: str | None = None
    segment_duration: Fraction | None = None
    init_segments: bool = False
    role: str = "multi"
    description: str | None = None
    tags: Tags = field(default_factory=dict)
    generation: int = 0
    rates: BitRates | None = None
    members: Sequence[Member] = ()

    def to_input(self, status: str) -> JsonObject:
        """The ``PutFlowInput`` of this flow."""
        rates, duration = self.rates, self.segment_duration
        fields: JsonObject = {
            "id": self.id,
            "sourceId": self.source_id,
            "label": self.label,
            "description": self.description,
            "tags": [{"name": n, "values": list(v)} for n, v in self.tags.items()] or None,
            "generation": self.generation,
            "status": status,
            "container": self.container,
            "segmentDuration": rational(duration) if duration else None,
            "avgBitRate": rates.average if rates else None,
            "maxBitRate": rates.maximum if rates else None,
            "codec": self.essence.codec if self.essence else None,
            "essenceParameters": self._essence_input(),
            "collection": [member.to_input() for member in self.members] or None,
        }
        present = {name: value for name, value in fields.items() if value is not None}
        return {self._variant(): present}

    def _variant(self) -> str:
        if self.essence is None:
            return "multi"
        return "video" if isinstance(self.essence, VideoEssence) else "audio"

    def _essence_input(self) -> JsonObject | None:
        if self.essence is None:
            return {"initSegments": True} if self.init_segments else None
        return self.essence.to_input(init_segments=self.init_segments)


def put_missing(catalog: Catalog, specs: Sequence[FlowSpec]) -> dict[str, str | None]:
    """Create the flows that are not there yet; returns the status of each by id.

    A flow that exists is left as it is: someone may have given it a better label since. Raises
    ``Conflict`` when it holds something else.
    """
    status: dict[str, str | None] = {}
    for spec in specs:
        known = catalog.flow(spec.id)
        if known is None:
            catalog.put_flow(spec.to_input(INGESTING))
            status[spec.id] = INGESTING
            continue
        codec = spec.essence.codec if spec.essence else None
        if known.container != spec.container or (codec is not None and known.codec != codec):
            raise Conflict(
                f"flow {spec.id} exists with {known.codec} in {known.container}, "
                f"not {codec} in {spec.container}"
            )
        status[spec.id] = known.status
    return status


def close_flow(
    catalog: Catalog, spec: FlowSpec, status: str | None, rates: BitRates | None = None
) -> None:
    """Say that the flow is complete, with its final bit rates, unless it is said already."""
    if status == COMPLETE:
        return
    changes: JsonObject = {"status": COMPLETE}
    if rates is not None:
        changes |= {"avgBitRate": rates.average, "maxBitRate": rates.maximum}
    catalog.patch_flow(spec.id, **changes)
