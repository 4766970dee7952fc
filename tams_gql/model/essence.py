"""Essence parameters of the five flow formats (schemas ``flow-video`` to ``flow-multi``).

The specification allows no unknown keys in ``essence_parameters``, but does in the objects
inside. Rules that tie several keys together are in ``technical``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from tams_gql.model.spec_model import (
    Label,
    NonNegative,
    Positive,
    Ratio,
    Rational,
    SpecModel,
)

InterlaceMode = Literal["progressive", "interlaced_tff", "interlaced_bff", "interlaced_psf"]
Colorspace = Literal["BT601", "BT709", "BT2020", "BT2100"]
TransferCharacteristic = Literal["SDR", "HLG", "PQ"]
ComponentType = Literal["YCbCr", "RGB"]
UncVideoType = Literal[
    "planar",
    "YUYV",
    "UYVY",
    "AYUV",
    "v210",
    "v216",
    "RGB",
    "RGBx",
    "xRGB",
    "BGRx",
    "xBGR",
    "RGBA",
    "ARGB",
    "BGRA",
    "ABGR",
    "alpha",
]
UncAudioType = Literal["interleaved", "planar", "pairs"]
Byte = Annotated[int, Field(ge=0, le=255)]


class Essence(SpecModel):
    """What the essence of a flow is like."""

    model_config = ConfigDict(extra="forbid")


class AvcParameters(SpecModel):
    """The three bytes of an AVC codec string (RFC 6381)."""

    profile: Byte
    level: Byte
    flags: Byte


class UncVideoParameters(SpecModel):
    """How uncompressed pictures are packed."""

    unc_type: UncVideoType


class UncAudioParameters(SpecModel):
    """How the channels of uncompressed sound are arranged."""

    unc_type: UncAudioType


class AudioCodecParameters(SpecModel):
    coded_frame_size: NonNegative | None = None
    mp4_oti: NonNegative | None = None


class VideoEssence(Essence):
    """Sizes in pixels, rates in frames a second, bit depth per component sample."""

    frame_width: Positive
    frame_height: Positive
    bit_depth: Positive | None = None
    interlace_mode: InterlaceMode | None = None
    colorspace: Colorspace | None = None
    transfer_characteristic: TransferCharacteristic | None = None
    aspect_ratio: Ratio | None = None
    pixel_aspect_ratio: Ratio | None = None
    component_type: ComponentType | None = None
    horiz_chroma_subs: Positive | None = None
    vert_chroma_subs: Positive | None = None
    unc_parameters: UncVideoParameters | None = None
    avc_parameters: AvcParameters | None = None
    frame_rate: Rational | None = None
    vfr: bool = False
    init_segments: bool = False


class AudioEssence(Essence):
    """Sample rate in Hz, bit depth per sample."""

    sample_rate: Positive
    channels: Positive
    bit_depth: Positive | None = None
    codec_parameters: AudioCodecParameters | None = None
    unc_parameters: UncAudioParameters | None = None
    init_segments: bool = False


class ImageEssence(Essence):
    """Sizes in pixels."""

    frame_width: Positive
    frame_height: Positive
    aspect_ratio: Ratio | None = None


class DataEssence(Essence):
    """``data_type`` is a URN that says what the data means."""

    data_type: Label | None = None
    init_segments: bool = False


class MultiEssence(Essence):
    init_segments: bool = False
