"""Essence parameters and container mappings as they are read. Units stand in the descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import strawberry

from tams_gql.schema.documents import object_of
from tams_gql.schema.enums import (
    Colorspace,
    ComponentType,
    InterlaceMode,
    TransferCharacteristic,
    UncAudioType,
)
from tams_gql.schema.fields import column

INIT_SEGMENTS = "Whether each media object needs an initialisation object to be decoded."


@strawberry.type(description="A fraction, so that rates such as 30000/1001 stay exact.")
class Rational:
    """A numerator over a denominator."""

    numerator: int = column("The numerator.")
    denominator: int = column("The denominator; 1 when the client left it out.")


@strawberry.type(description="The three bytes of an AVC codec string (RFC 6381).")
class AvcParameters:
    """The specification's ``avc_parameters``."""

    profile: int = column("The profile byte.")
    level: int = column("The level byte.")
    flags: int = column("The constraint flags byte.")


@strawberry.type(description="How uncompressed pictures are packed.")
class UncVideoParameters:
    """The specification's video ``unc_parameters``."""

    unc_type: str = column("The packing, such as `planar`, `YUYV` or `v210`.")


@strawberry.type(description="How uncompressed sound is laid out.")
class UncAudioParameters:
    """The specification's audio ``unc_parameters``."""

    unc_type: UncAudioType = column("The layout of the channels.")


@strawberry.type(description="Parameters of an audio codec.")
class AudioCodecParameters:
    """The specification's ``codec_parameters``."""

    coded_frame_size: int | None = column("Samples in a coded frame.")
    mp4_oti: int | None = column("The MPEG-4 object type indication.")


@strawberry.type(description="What a video essence is like.")
class VideoEssenceParameters:
    """The specification's video ``essence_parameters``."""

    frame_width: int = column("Pixels.")
    frame_height: int = column("Pixels.")
    frame_rate: Rational | None = column("Frames a second; absent for a variable rate.")
    vfr: bool | None = column("Whether the frame rate is variable.")
    bit_depth: int | None = column("Bits of a component sample.")
    interlace_mode: InterlaceMode | None = column("How lines are scanned.")
    colorspace: Colorspace | None = column("The colour space.")
    transfer_characteristic: TransferCharacteristic | None = column("The transfer function.")
    aspect_ratio: Rational | None = column("Display width over display height.")
    pixel_aspect_ratio: Rational | None = column("Width over height of a pixel.")
    component_type: ComponentType | None = column("The picture's components.")
    horiz_chroma_subs: int | None = column("Horizontal chroma subsampling factor.")
    vert_chroma_subs: int | None = column("Vertical chroma subsampling factor.")
    unc_parameters: UncVideoParameters | None = column("Packing of uncompressed pictures.")
    avc_parameters: AvcParameters | None = column("Bytes of the AVC codec string.")
    init_segments: bool | None = column(INIT_SEGMENTS)


@strawberry.type(description="What an audio essence is like.")
class AudioEssenceParameters:
    """The specification's audio ``essence_parameters``."""

    sample_rate: int = column("Samples a second.")
    channels: int = column("How many channels.")
    bit_depth: int | None = column("Bits of a sample.")
    codec_parameters: AudioCodecParameters | None = column("Parameters of the codec.")
    unc_parameters: UncAudioParameters | None = column("Layout of uncompressed sound.")
    init_segments: bool | None = column(INIT_SEGMENTS)


@strawberry.type(description="What an image essence is like.")
class ImageEssenceParameters:
    """The specification's image ``essence_parameters``."""

    frame_width: int = column("Pixels.")
    frame_height: int = column("Pixels.")
    aspect_ratio: Rational | None = column("Display width over display height.")


@strawberry.type(description="What a data essence is like.")
class DataEssenceParameters:
    """The specification's data ``essence_parameters``."""

    data_type: str | None = column("A URN that says what the data means.")
    init_segments: bool | None = column(INIT_SEGMENTS)


@strawberry.type(description="What a multiplex of essences is like.")
class MultiEssenceParameters:
    """The specification's multi ``essence_parameters``."""

    init_segments: bool | None = column(INIT_SEGMENTS)


@strawberry.type(description="Which channels of a container's audio track are meant.")
class AudioTrack:
    """The specification's ``audio_track``."""

    channel_numbers: list[int] | None = column("Container channels from 0, in the flow's order.")
    channel_range: str | None = column("An inclusive range of container channels, such as `0_1`.")


@strawberry.type(description="A place in an MPEG-2 transport stream.")
class Mp2tsContainer:
    """The specification's ``mp2ts_container``."""

    pid: int | None = column("The packet id.")


@strawberry.type(description="A place in an MXF file.")
class MxfContainer:
    """The specification's ``mxf_container``."""

    package_uid: str | None = column("The package UID, a UMID or UUID URN.")
    track_id: int | None = column("The track id in the package.")


@strawberry.type(description="A place in an ISO base media file, such as MP4.")
class IsobmffContainer:
    """The specification's ``isobmff_container``."""

    track_id: int | None = column("The track id.")


@strawberry.type(description="Where the essence of a flow lies in a container's tracks.")
class ContainerMapping:
    """The specification's ``container_mapping``."""

    track_index: int | None = column("The track, counted from 0 over all tracks.")
    format_track_index: int | None = column("The track, counted from 0 over those of the format.")
    audio_track: AudioTrack | None = column("Channels within an audio track.")
    mp2ts_container: Mp2tsContainer | None = column("In a transport stream.")
    mxf_container: MxfContainer | None = column("In an MXF file.")
    isobmff_container: IsobmffContainer | None = column("In an ISO base media file.")


_NESTED: Mapping[type, Mapping[str, Any]] = {
    VideoEssenceParameters: {
        "frame_rate": Rational,
        "interlace_mode": InterlaceMode,
        "colorspace": Colorspace,
        "transfer_characteristic": TransferCharacteristic,
        "aspect_ratio": Rational,
        "pixel_aspect_ratio": Rational,
        "component_type": ComponentType,
        "unc_parameters": UncVideoParameters,
        "avc_parameters": AvcParameters,
    },
    AudioEssenceParameters: {
        "codec_parameters": AudioCodecParameters,
        "unc_parameters": UncAudioParameters,
    },
    UncAudioParameters: {"unc_type": UncAudioType},
    ImageEssenceParameters: {"aspect_ratio": Rational},
    ContainerMapping: {
        "audio_track": AudioTrack,
        "mp2ts_container": Mp2tsContainer,
        "mxf_container": MxfContainer,
        "isobmff_container": IsobmffContainer,
    },
}


def rational(document: Mapping[str, Any] | None) -> Rational | None:
    """A fraction of a document; the denominator is 1 when left out."""
    if document is None:
        return None
    return Rational(numerator=document["numerator"], denominator=document.get("denominator", 1))


def essence_of(kind: type[Any], document: Mapping[str, Any] | None) -> Any:
    """The essence parameters, or container mapping, of a stored document."""
    if document is None:
        return None
    ratios = {
        key: {"denominator": 1, **document[key]}
        for key, nested in _NESTED.get(kind, {}).items()
        if nested is Rational and key in document
    }
    return object_of(kind, {**document, **ratios}, _NESTED)
