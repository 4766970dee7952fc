"""A profile: the technical part that many flows share (schema ``profile``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field, SerializeAsAny

from tams_gql.model.bounds import dotted, refuse
from tams_gql.model.formats import ContentFormat
from tams_gql.model.json_body import check_body
from tams_gql.model.spec_model import Description, Label, Name, SpecModel, Uuid, validate
from tams_gql.model.tags import TagsJson, parse_tags
from tams_gql.model.technical import (
    AudioTechnical,
    DataTechnical,
    ImageTechnical,
    Technical,
    VideoTechnical,
    check_rules,
    parse_format,
)

# A profile describes one essence, so there is none for multi-essence flows.
_MODEL_BY_FORMAT: Final[Mapping[ContentFormat, type[Technical]]] = {
    ContentFormat.VIDEO: VideoTechnical,
    ContentFormat.AUDIO: AudioTechnical,
    ContentFormat.IMAGE: ImageTechnical,
    ContentFormat.DATA: DataTechnical,
}


class ProfileBody(SpecModel):
    """A profile as clients write it; ``flow_metadata`` is of the class that its format has."""

    id: Uuid
    label: Label | None = None
    description: Description | None = None
    created_by: Name | None = None
    tags: TagsJson = Field(default_factory=dict)
    flow_metadata: SerializeAsAny[Technical]


def parse_profile(body: Mapping[str, object], *, field: str = "") -> ProfileBody:
    """A profile for one of the single-essence formats.

    ``field`` is the path of the body inside the client's input. Raises ``BadInput`` about the
    first offending key. The creation time is the catalog's, and dropped when sent.
    """
    own = check_body(body, field)
    own.pop("created", None)
    if "tags" in own:
        own["tags"] = parse_tags(own["tags"], field=dotted(field, "tags"))
    if "flow_metadata" in own:
        own["flow_metadata"] = _technical(own["flow_metadata"], dotted(field, "flow_metadata"))
    return validate(ProfileBody, own, field=field)


def _technical(body: object, field: str) -> Technical:
    if not isinstance(body, dict):
        refuse(field, body, "a JSON object")
    format = parse_format(body, field=field)
    if format not in _MODEL_BY_FORMAT:
        refuse(dotted(field, "format"), body["format"], "a profile describes a single essence")
    technical = validate(_MODEL_BY_FORMAT[format], {**body, "format": format}, field=field)
    check_rules(technical, field=field)
    return technical
