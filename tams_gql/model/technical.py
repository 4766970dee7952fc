"""The technical part of a flow, which a profile can give instead (schema ``flow-technical``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from tams_gql.model.bounds import bad_input, dotted, refuse
from tams_gql.model.container_mapping import ContainerMapping
from tams_gql.model.essence import (
    AudioEssence,
    DataEssence,
    Essence,
    ImageEssence,
    MultiEssence,
    VideoEssence,
)
from tams_gql.model.formats import ContentFormat
from tams_gql.model.spec_model import MimeType, NonNegative, Rational, SpecModel

_FORMATS: Final = tuple(format.value for format in ContentFormat)

# Packings whose samples are luma and chroma; "planar" says nothing about its components.
_YUV_TYPES: Final = frozenset({"YUYV", "UYVY", "AYUV", "v210", "v216"})


class Technical(SpecModel):
    """What codec and container are like; ``avg_bit_rate`` in 1000 bit/s, durations in seconds."""

    format: ContentFormat
    codec: MimeType | None = None
    container: MimeType | None = None
    avg_bit_rate: NonNegative | None = None
    segment_duration: Rational | None = None
    container_mapping: ContainerMapping | None = None
    essence_parameters: Essence | None = None

    @property
    def essence(self) -> Essence | None:
        return self.essence_parameters


class VideoTechnical(Technical):
    format: Literal[ContentFormat.VIDEO]
    codec: MimeType
    essence_parameters: VideoEssence


class AudioTechnical(Technical):
    format: Literal[ContentFormat.AUDIO]
    codec: MimeType
    essence_parameters: AudioEssence


class ImageTechnical(Technical):
    format: Literal[ContentFormat.IMAGE]
    codec: MimeType
    essence_parameters: ImageEssence


class DataTechnical(Technical):
    format: Literal[ContentFormat.DATA]
    codec: MimeType
    essence_parameters: DataEssence


class MultiTechnical(Technical):
    format: Literal[ContentFormat.MULTI]
    essence_parameters: MultiEssence | None = None


TECHNICAL_KEYS: Final = frozenset(Technical.model_fields)
"""Keys that a profile may hold, and that a flow made from a profile must not."""


def parse_format(body: Mapping[str, object], *, field: str) -> ContentFormat:
    """The format that ``body`` names; it decides which keys the rest may have."""
    text = body.get("format")
    if text is None:
        raise bad_input(dotted(field, "format"), "is required")
    if not isinstance(text, str) or text not in _FORMATS:
        refuse(dotted(field, "format"), text, f"one of {', '.join(_FORMATS)}")
    return ContentFormat(text)


def check_rules(technical: Technical, *, field: str) -> None:
    """The rules that tie essence parameters to each other and to the codec.

    Raises ``BadInput`` about the parameter that is missing or too much.
    """
    path = dotted(field, "essence_parameters")
    codec = (technical.codec or "").lower()
    match technical.essence_parameters:
        case VideoEssence() as video:
            _check_frame_rate(video, path)
            _check_raw_video(video, codec, path)
        case AudioEssence() as audio:
            _check_raw_audio(audio, codec, path)


def _check_frame_rate(video: VideoEssence, path: str) -> None:
    # Schema `flow-video`: a fixed rate is stated, a variable one is not (ADR 0041 of TAMS).
    rate = dotted(path, "frame_rate")
    if video.vfr and video.frame_rate is not None:
        raise bad_input(rate, "must be left out when vfr is true")
    if not video.vfr and video.frame_rate is None:
        raise bad_input(rate, "is required unless vfr is true")


def _check_raw_video(video: VideoEssence, codec: str, path: str) -> None:
    if codec == "video/raw":
        _require(video.bit_depth, path, "bit_depth", codec)
        _require(video.unc_parameters, path, "unc_parameters", codec)
    if video.unc_parameters and video.unc_parameters.unc_type in _YUV_TYPES:
        packing = f"unc_type {video.unc_parameters.unc_type}"
        _require(video.horiz_chroma_subs, path, "horiz_chroma_subs", packing)
        _require(video.vert_chroma_subs, path, "vert_chroma_subs", packing)


def _check_raw_audio(audio: AudioEssence, codec: str, path: str) -> None:
    if codec not in ("audio/x-raw-int", "audio/x-raw-float"):
        return
    _require(audio.bit_depth, path, "bit_depth", codec)
    _require(audio.unc_parameters, path, "unc_parameters", codec)
    if codec == "audio/x-raw-float" and audio.bit_depth not in (32, 64):
        refuse(dotted(path, "bit_depth"), audio.bit_depth, f"32 or 64 for {codec}")


def _require(value: object, path: str, key: str, reason: str) -> None:
    if value is None:
        raise bad_input(dotted(path, key), f"is required for {reason}")
