"""The body of a flow as clients write it (schema ``flow-put``).

A body either describes the essence itself or names the profile that does. Both keep the vendor
keys they came with, and neither keeps what the catalog manages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from tams_gql.model.bounds import bad_input, dotted, shown
from tams_gql.model.container_mapping import ContainerMapping
from tams_gql.model.formats import ContentFormat, FlowStatus
from tams_gql.model.json_body import check_body
from tams_gql.model.spec_model import (
    Description,
    Label,
    Name,
    NonNegative,
    SpecModel,
    Uuid,
    validate,
)
from tams_gql.model.tags import TagsJson, parse_tags
from tams_gql.model.technical import (
    TECHNICAL_KEYS,
    AudioTechnical,
    DataTechnical,
    ImageTechnical,
    MultiTechnical,
    Technical,
    VideoTechnical,
    check_rules,
    parse_format,
)

SERVER_MANAGED_KEYS: Final = frozenset(
    {"created", "metadata_updated", "segments_updated", "timerange", "collected_by"}
)
"""Keys of a flow that a client may send back but that only the catalog sets."""


class FlowMember(SpecModel):
    """A flow collected by another one, at its place in the order."""

    id: Uuid
    role: Label | None = None
    container_mapping: ContainerMapping | None = None


class FlowCommon(SpecModel):
    """What flows of every format have; ``max_bit_rate`` is in 1000 bit/s."""

    id: Uuid
    source_id: Uuid
    label: Label | None = None
    description: Description | None = None
    created_by: Name | None = None
    updated_by: Name | None = None
    tags: TagsJson = Field(default_factory=dict)
    metadata_version: Name | None = None
    generation: NonNegative | None = None
    # Strict mode would ask for the enum's members, and JSON has only their values.
    status: Annotated[FlowStatus, Field(strict=False)] | None = None
    read_only: bool = False
    max_bit_rate: NonNegative | None = None
    flow_collection: list[FlowMember] = Field(default_factory=list)


class FlowBody(FlowCommon, Technical):
    """A flow that states its format; the subclass of a format types its essence parameters.

    ``profile_id`` is set only when the technical part came from that profile.
    """

    profile_id: Uuid | None = None


class VideoFlow(VideoTechnical, FlowBody):
    pass


class AudioFlow(AudioTechnical, FlowBody):
    pass


class ImageFlow(ImageTechnical, FlowBody):
    pass


class DataFlow(DataTechnical, FlowBody):
    pass


class MultiFlow(MultiTechnical, FlowBody):
    pass


class ProfileFlowBody(FlowCommon):
    """A flow whose technical part is that of a profile."""

    profile_id: Uuid


_MODEL_BY_FORMAT: Final[Mapping[ContentFormat, type[FlowBody]]] = {
    ContentFormat.VIDEO: VideoFlow,
    ContentFormat.AUDIO: AudioFlow,
    ContentFormat.IMAGE: ImageFlow,
    ContentFormat.DATA: DataFlow,
    ContentFormat.MULTI: MultiFlow,
}


def parse_flow(body: Mapping[str, object], *, field: str = "") -> FlowBody:
    """A flow that describes its essence itself.

    ``field`` is the path of the body inside the client's input. Raises ``BadInput`` about the
    first offending key, also when the body names a profile.
    """
    own = _own_keys(body, field)
    if own.pop("profile_id", None) not in (None, ""):
        _check_one_description(own, field)
        raise bad_input(
            dotted(field, "profile_id"), "is not allowed; the flow must describe its essence here"
        )
    return _flow(own, field)


def parse_profile_flow(body: Mapping[str, object], *, field: str = "") -> ProfileFlowBody:
    """A flow that names a profile and has no technical key of its own (schema ``flow-put``)."""
    own = _own_keys(body, field)
    _check_one_description(own, field)
    flow = validate(ProfileFlowBody, _with_tags(own, field), field=field)
    _check_members(flow, field)
    return flow


def parse_flow_put(body: Mapping[str, object], *, field: str = "") -> FlowBody | ProfileFlowBody:
    """Either kind of flow: with a non-empty ``profile_id`` it is one made from a profile."""
    if isinstance(body, Mapping) and body.get("profile_id") not in (None, ""):
        return parse_profile_flow(body, field=field)
    return parse_flow(body, field=field)


def apply_profile(flow: ProfileFlowBody, technical: Technical) -> FlowBody:
    """The flow that ``flow`` asks for, with the technical part of its profile filled in."""
    own = FlowCommon.model_fields.keys() | SERVER_MANAGED_KEYS
    described = {key: item for key, item in technical.to_json().items() if key not in own}
    return _flow({**described, **flow.to_json()}, "")


def patch_flow(
    stored: Mapping[str, object], changes: Mapping[str, object], *, field: str = ""
) -> FlowBody:
    """A stored flow with some keys changed, checked as a whole; ``None`` removes a key.

    The stored body may have both a profile and the technical part that came from it.
    """
    own = _own_keys(changes, field)
    # Vendor keys may be null and stay so; only a change to null removes.
    kept = {key: item for key, item in stored.items() if key not in own}
    given = {key: item for key, item in own.items() if item is not None}
    return _flow(_own_keys({**kept, **given}, field), field)


def _own_keys(body: object, field: str) -> dict[str, object]:
    checked = check_body(body, field)
    return {key: item for key, item in checked.items() if key not in SERVER_MANAGED_KEYS}


def _with_tags(body: dict[str, object], field: str) -> dict[str, object]:
    if "tags" not in body:
        return body
    return {**body, "tags": parse_tags(body["tags"], field=dotted(field, "tags"))}


def _check_one_description(body: Mapping[str, object], field: str) -> None:
    # Schema `flow-put`: what a profile can hold must not stand beside its id.
    technical = [key for key in body if key in TECHNICAL_KEYS]
    if technical:
        raise bad_input(
            dotted(field, "profile_id"),
            f"cannot stand beside {', '.join(technical)}: the profile describes the essence",
        )


def _flow(body: dict[str, object], field: str) -> FlowBody:
    format = parse_format(body, field=field)
    typed = {**_with_tags(body, field), "format": format}
    flow = validate(_MODEL_BY_FORMAT[format], typed, field=field)
    check_rules(flow, field=field)
    _check_members(flow, field)
    return flow


def _check_members(flow: FlowCommon, field: str) -> None:
    # A flow inside itself would make every walk through collections endless.
    seen = {flow.id: "a flow cannot collect itself"}
    for index, member in enumerate(flow.flow_collection):
        if reason := seen.get(member.id):
            path = dotted(field, "flow_collection", index, "id")
            raise bad_input(path, f"{shown(member.id)} is not allowed; {reason}")
        seen[member.id] = "a flow is collected once"
