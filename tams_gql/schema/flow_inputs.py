"""Flows as clients write them: one input type per format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import strawberry

from tams_gql.model.errors import BadInput
from tams_gql.model.flow import SERVER_MANAGED_KEYS, FlowBody
from tams_gql.model.formats import ContentFormat, FlowStatus
from tams_gql.schema.documents import document_of
from tams_gql.schema.enums import (
    Colorspace,
    ComponentType,
    InterlaceMode,
    TransferCharacteristic,
    UncAudioType,
)
from tams_gql.schema.essence import INIT_SEGMENTS
from tams_gql.schema.scalars import Json, MimeType
from tams_gql.schema.tags import TagInput, tags_document

_SPECIFIED = FlowBody.model_fields.keys() | SERVER_MANAGED_KEYS


IDEMPOTENCY_KEY = (
    "A text of yours of at most 128 characters. For a day, a repeated request with the same key"
    " answers what the first one did, and does nothing."
)


def optional(description: str, default: Any = None) -> Any:
    """An input field that may be left out."""
    return strawberry.field(default=default, description=description)


def required(description: str) -> Any:
    """An input field that must be given."""
    return strawberry.field(description=description)


@strawberry.input(description="A positive fraction.")
class RationalInput:
    """A numerator over a denominator."""

    numerator: int = required("At least 1.")
    denominator: int = optional("At least 1.", 1)


@strawberry.input(description="The three bytes of an AVC codec string (RFC 6381).")
class AvcParametersInput:
    """The specification's ``avc_parameters``."""

    profile: int = required("0 to 255.")
    level: int = required("0 to 255.")
    flags: int = required("0 to 255.")


@strawberry.input(description="How uncompressed pictures are packed.")
class UncVideoParametersInput:
    """The specification's video ``unc_parameters``."""

    unc_type: str = required("The packing, such as `planar`, `YUYV` or `v210`.")


@strawberry.input(description="How uncompressed sound is laid out.")
class UncAudioParametersInput:
    """The specification's audio ``unc_parameters``."""

    unc_type: UncAudioType = required("The layout of the channels.")


@strawberry.input(description="Parameters of an audio codec.")
class AudioCodecParametersInput:
    """The specification's ``codec_parameters``."""

    coded_frame_size: int | None = optional("Samples in a coded frame.")
    mp4_oti: int | None = optional("The MPEG-4 object type indication.")


@strawberry.input(description="What a video essence is like.")
class VideoEssenceInput:
    """The specification's video ``essence_parameters``."""

    frame_width: int = required("Pixels.")
    frame_height: int = required("Pixels.")
    frame_rate: RationalInput | None = optional("Frames a second; required unless `vfr` is true.")
    vfr: bool | None = optional("Whether the frame rate is variable; `frameRate` is absent then.")
    bit_depth: int | None = optional("Bits of a component sample.")
    interlace_mode: InterlaceMode | None = optional("How lines are scanned.")
    colorspace: Colorspace | None = optional("The colour space.")
    transfer_characteristic: TransferCharacteristic | None = optional("The transfer function.")
    aspect_ratio: RationalInput | None = optional("Display width over display height.")
    pixel_aspect_ratio: RationalInput | None = optional("Width over height of a pixel.")
    component_type: ComponentType | None = optional("The picture's components.")
    horiz_chroma_subs: int | None = optional("Horizontal chroma subsampling factor.")
    vert_chroma_subs: int | None = optional("Vertical chroma subsampling factor.")
    unc_parameters: UncVideoParametersInput | None = optional("For uncompressed pictures.")
    avc_parameters: AvcParametersInput | None = optional("For AVC.")
    init_segments: bool | None = optional(INIT_SEGMENTS)


@strawberry.input(description="What an audio essence is like.")
class AudioEssenceInput:
    """The specification's audio ``essence_parameters``."""

    sample_rate: int = required("Samples a second.")
    channels: int = required("How many channels.")
    bit_depth: int | None = optional("Bits of a sample.")
    codec_parameters: AudioCodecParametersInput | None = optional("Parameters of the codec.")
    unc_parameters: UncAudioParametersInput | None = optional("For uncompressed sound.")
    init_segments: bool | None = optional(INIT_SEGMENTS)


@strawberry.input(description="What an image essence is like.")
class ImageEssenceInput:
    """The specification's image ``essence_parameters``."""

    frame_width: int = required("Pixels.")
    frame_height: int = required("Pixels.")
    aspect_ratio: RationalInput | None = optional("Display width over display height.")


@strawberry.input(description="What a data essence is like.")
class DataEssenceInput:
    """The specification's data ``essence_parameters``."""

    data_type: str | None = optional("A URN that says what the data means.")
    init_segments: bool | None = optional(INIT_SEGMENTS)


@strawberry.input(description="What a multiplex of essences is like.")
class MultiEssenceInput:
    """The specification's multi ``essence_parameters``."""

    init_segments: bool | None = optional(INIT_SEGMENTS)


@strawberry.input(description="Which channels of a container's audio track are meant.")
class AudioTrackInput:
    """The specification's ``audio_track``."""

    channel_numbers: list[int] | None = optional("Container channels from 0, in flow order.")
    channel_range: str | None = optional("An inclusive range of container channels: `0_1`.")


@strawberry.input(description="A place in an MPEG-2 transport stream.")
class Mp2tsContainerInput:
    """The specification's ``mp2ts_container``."""

    pid: int = required("The packet id, 0 to 8191.")


@strawberry.input(description="A place in an MXF file.")
class MxfContainerInput:
    """The specification's ``mxf_container``."""

    package_uid: str | None = optional("The package UID, a UMID or UUID URN.")
    track_id: int | None = optional("The track id in the package.")


@strawberry.input(description="A place in an ISO base media file, such as MP4.")
class IsobmffContainerInput:
    """The specification's ``isobmff_container``."""

    track_id: int = required("The track id.")


@strawberry.input(description="Where the essence of a flow lies in a container's tracks.")
class ContainerMappingInput:
    """The specification's ``container_mapping``."""

    track_index: int | None = optional("The track, counted from 0 over all tracks.")
    format_track_index: int | None = optional("The track, from 0 over those of the format.")
    audio_track: AudioTrackInput | None = optional("Channels within an audio track.")
    mp2ts_container: Mp2tsContainerInput | None = optional("In a transport stream.")
    mxf_container: MxfContainerInput | None = optional("In an MXF file.")
    isobmff_container: IsobmffContainerInput | None = optional("In an ISO base media file.")


@strawberry.input(description="A flow in a collection. The order of the list is kept.")
class FlowMemberInput:
    """An item of the specification's ``flow_collection``."""

    flow_id: strawberry.ID = required("An existing flow.")
    role: str | None = optional("What it is to the collection, such as `audio_description`.")
    container_mapping: ContainerMappingInput | None = optional(
        "Where it lies in the container of the collecting flow."
    )


@strawberry.input
class _FlowInput:
    """What flows of every format have."""

    id: strawberry.ID = required("A UUID of your choice; an existing flow is replaced.")
    source_id: strawberry.ID = required("The source it belongs to, made if it does not exist.")
    label: str | None = optional("A short name, at most 1,024 characters.")
    description: str | None = optional("A longer text, at most 16,384 characters.")
    tags: list[TagInput] | None = optional("At most 64. They replace all present tags.")
    status: FlowStatus | None = optional("What is happening to the flow.")
    read_only: bool | None = optional("Refuse changes to the flow and its segments.")
    generation: int | None = optional("How many lossy encodings lie behind it; 0 is the best.")
    container: MimeType | None = optional(
        "The container of the flow's objects; required before storage can be allocated."
    )
    avg_bit_rate: int | None = optional("1000 bit/s.")
    max_bit_rate: int | None = optional("1000 bit/s.")
    segment_duration: RationalInput | None = optional("The target duration in seconds.")
    container_mapping: ContainerMappingInput | None = optional("Where it lies in its container.")
    collection: list[FlowMemberInput] | None = optional("The flows that this one collects.")
    metadata_version: str | None = optional(
        "Your own version text; otherwise each change gets a new one."
    )
    vendor_parameters: Json | None = optional(
        "An object of keys that the specification does not know; kept and returned."
    )
    expected_version: int | None = optional(
        "Refuse with CONFLICT unless the flow has this version; 0 asks that it be new."
    )
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.input(description="A video flow to write.")
class VideoFlowInput(_FlowInput):
    """``urn:x-nmos:format:video``."""

    codec: MimeType = required("The coding, such as `video/h264`.")
    essence_parameters: VideoEssenceInput = required("What the pictures are like.")


@strawberry.input(description="An audio flow to write.")
class AudioFlowInput(_FlowInput):
    """``urn:x-nmos:format:audio``."""

    codec: MimeType = required("The coding, such as `audio/aac`.")
    essence_parameters: AudioEssenceInput = required("What the sound is like.")


@strawberry.input(description="A flow of still images to write.")
class ImageFlowInput(_FlowInput):
    """``urn:x-tam:format:image``."""

    codec: MimeType = required("The coding, such as `image/jpeg`.")
    essence_parameters: ImageEssenceInput = required("What the images are like.")


@strawberry.input(description="A data flow to write.")
class DataFlowInput(_FlowInput):
    """``urn:x-nmos:format:data``."""

    codec: MimeType = required("The coding, such as `application/json`.")
    essence_parameters: DataEssenceInput = required("What the data is like.")


@strawberry.input(description="A flow that multiplexes or only collects other flows, to write.")
class MultiFlowInput(_FlowInput):
    """``urn:x-nmos:format:multi``."""

    codec: MimeType | None = optional("The coding of the multiplex, where there is one.")
    essence_parameters: MultiEssenceInput | None = optional("What the multiplex is like.")


@strawberry.input(description="A flow whose technical parameters are those of a profile.")
class ProfileFlowInput:
    """A flow made from a profile."""

    id: strawberry.ID = required("A UUID of your choice; an existing flow is replaced.")
    source_id: strawberry.ID = required("The source it belongs to, made if it does not exist.")
    profile_id: strawberry.ID = required("An existing profile.")
    label: str | None = optional("A short name, at most 1,024 characters.")
    description: str | None = optional("A longer text, at most 16,384 characters.")
    tags: list[TagInput] | None = optional("At most 64. They replace all present tags.")
    status: FlowStatus | None = optional("What is happening to the flow.")
    read_only: bool | None = optional("Refuse changes to the flow and its segments.")
    generation: int | None = optional("How many lossy encodings lie behind it; 0 is the best.")
    max_bit_rate: int | None = optional("1000 bit/s.")
    collection: list[FlowMemberInput] | None = optional("The flows that this one collects.")
    metadata_version: str | None = optional(
        "Your own version text; otherwise each change gets a new one."
    )
    vendor_parameters: Json | None = optional(
        "An object of keys that the specification does not know; kept and returned."
    )
    expected_version: int | None = optional(
        "Refuse with CONFLICT unless the flow has this version; 0 asks that it be new."
    )
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


@strawberry.input(one_of=True, description="A flow to create or replace: exactly one format.")
class PutFlowInput:
    """The formats of a flow."""

    video: VideoFlowInput | None = optional("A video flow.", strawberry.UNSET)
    audio: AudioFlowInput | None = optional("An audio flow.", strawberry.UNSET)
    image: ImageFlowInput | None = optional("A flow of still images.", strawberry.UNSET)
    data: DataFlowInput | None = optional("A data flow.", strawberry.UNSET)
    multi: MultiFlowInput | None = optional("A multiplex or collection.", strawberry.UNSET)
    profile: ProfileFlowInput | None = optional("A flow from a profile.", strawberry.UNSET)


@strawberry.input(
    description="Changes to a flow. What is left out stays; null removes. On a read-only flow only"
    " `readOnly` can be changed."
)
class PatchFlowInput:
    """The parts of a flow that can be changed alone."""

    id: strawberry.ID = required("The flow.")
    label: str | None = optional("A short name.", strawberry.UNSET)
    description: str | None = optional("A longer text.", strawberry.UNSET)
    tags: list[TagInput] | None = optional("They replace all present tags.", strawberry.UNSET)
    status: FlowStatus | None = optional("What is happening to it.", strawberry.UNSET)
    read_only: bool | None = optional("Refuse other changes.", strawberry.UNSET)
    avg_bit_rate: int | None = optional("1000 bit/s.", strawberry.UNSET)
    max_bit_rate: int | None = optional("1000 bit/s.", strawberry.UNSET)
    collection: list[FlowMemberInput] | None = optional(
        "They replace the present collection.", strawberry.UNSET
    )
    expected_version: int | None = optional("Refuse with CONFLICT unless at this version.")
    idempotency_key: str | None = optional(IDEMPOTENCY_KEY)


_NOT_OF_THE_FLOW = (
    *("expected_version", "idempotency_key", "vendor_parameters", "collection", "tags"),
)


@dataclass(frozen=True, slots=True)
class PutFlow:
    """The chosen variant of an input: its name, the flow's document and the conditions."""

    name: str
    document: dict[str, object]
    expected_version: int | None
    idempotency_key: str | None


def put_document(flow: PutFlowInput) -> PutFlow:
    """The flow that a client wants written."""
    for name in ("video", "audio", "image", "data", "multi", "profile"):
        variant = getattr(flow, name)
        if variant is None or variant is strawberry.UNSET:
            continue
        document = _document(variant, f"input.{name}")
        if name != "profile":
            document["format"] = ContentFormat[name.upper()].value
        return PutFlow(name, document, variant.expected_version, variant.idempotency_key)
    raise BadInput("input: exactly one format must be given", field="input")


def patch_document(patch: PatchFlowInput) -> dict[str, object]:
    """The changed keys in the specification's spelling; None unsets one."""
    document: dict[str, object] = {}
    for name in ("label", "description", "status", "read_only", "avg_bit_rate", "max_bit_rate"):
        if (value := getattr(patch, name)) is not strawberry.UNSET:
            document[name] = document_of(value)
    if patch.tags is not strawberry.UNSET:
        document["tags"] = tags_document(patch.tags, "input.tags")
    if patch.collection is not strawberry.UNSET:
        members = patch.collection
        document["flow_collection"] = None if members is None else _members(members)
    return document


def _document(variant: _FlowInput | ProfileFlowInput, path: str) -> dict[str, object]:
    document: dict[str, object] = document_of(variant)
    for key in _NOT_OF_THE_FLOW:
        document.pop(key, None)
    if variant.tags is not None:
        document["tags"] = tags_document(variant.tags, f"{path}.tags")
    if variant.collection is not None:
        document["flow_collection"] = _members(variant.collection)
    return {**_vendor(variant, path), **document}


def _vendor(variant: _FlowInput | ProfileFlowInput, path: str) -> dict[str, object]:
    vendor: Any = variant.vendor_parameters
    if vendor is None:
        return {}
    path = f"{path}.vendorParameters"
    if not isinstance(vendor, dict):
        raise BadInput(f"{path}: a JSON object is expected", field=path)
    for key in vendor:
        if key in _SPECIFIED:
            raise BadInput(f"{path}: {key!r} is a key of the specification", field=path)
    return vendor


def _members(members: list[FlowMemberInput]) -> list[dict[str, object]]:
    documents = []
    for member in members:
        document: dict[str, object] = document_of(member)
        document["id"] = document.pop("flow_id")
        documents.append(document)
    return documents
