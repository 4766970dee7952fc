"""Technical descriptions of video and audio, and their form as GraphQL input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from tams_gql.ingest.parameter_sets import AvcParameters

JsonObject = dict[str, object]


def rational(value: Fraction) -> JsonObject:
    """A fraction as ``RationalInput``."""
    return {"numerator": value.numerator, "denominator": value.denominator}


def _present(**fields: object) -> JsonObject:
    # The API tells "not given" from "null"; unknown properties are simply not given.
    return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True, slots=True)
class VideoEssence:
    """Video properties of TAMS ``flow-video``; None is unknown.

    ``frame_rate`` None means a variable frame rate.
    """

    codec: str
    width: int
    height: int
    frame_rate: Fraction | None = None
    bit_depth: int | None = None
    interlace_mode: str | None = None
    colorspace: str | None = None
    transfer_characteristic: str | None = None
    aspect_ratio: Fraction | None = None
    pixel_aspect_ratio: Fraction | None = None
    component_type: str | None = None
    horiz_chroma_subs: int | None = None
    vert_chroma_subs: int | None = None
    avc: AvcParameters | None = None

    def with_frame_rate(self, rate: Fraction | None) -> VideoEssence:
        """This essence with its measured frame rate, None when it varies."""
        return replace(self, frame_rate=rate)

    def to_input(self, *, init_segments: bool) -> JsonObject:
        """The ``VideoEssenceInput`` of this essence."""
        rate = self.frame_rate
        avc = self.avc and {
            "profile": self.avc.profile,
            "level": self.avc.level,
            "flags": self.avc.flags,
        }
        return _present(
            frameWidth=self.width,
            frameHeight=self.height,
            frameRate=rational(rate) if rate is not None else None,
            vfr=True if rate is None else None,
            bitDepth=self.bit_depth,
            interlaceMode=self.interlace_mode,
            colorspace=self.colorspace,
            transferCharacteristic=self.transfer_characteristic,
            aspectRatio=rational(self.aspect_ratio) if self.aspect_ratio else None,
            pixelAspectRatio=rational(self.pixel_aspect_ratio) if self.pixel_aspect_ratio else None,
            componentType=self.component_type,
            horizChromaSubs=self.horiz_chroma_subs,
            vertChromaSubs=self.vert_chroma_subs,
            avcParameters=avc,
            initSegments=init_segments or None,
        )


@dataclass(frozen=True, slots=True)
class AudioEssence:
    """Audio properties of TAMS ``flow-audio``; None is unknown.

    ``coded_frame_size`` counts samples per coded frame, ``mp4_oti`` is the MPEG-4 object type.
    """

    codec: str
    sample_rate: int
    channels: int
    bit_depth: int | None = None
    coded_frame_size: int | None = None
    mp4_oti: int | None = None
    unc_type: str | None = None

    def to_input(self, *, init_segments: bool) -> JsonObject:
        """The ``AudioEssenceInput`` of this essence."""
        parameters = _present(codedFrameSize=self.coded_frame_size, mp4Oti=self.mp4_oti)
        return _present(
            sampleRate=self.sample_rate,
            channels=self.channels,
            bitDepth=self.bit_depth,
            codecParameters=parameters or None,
            uncParameters={"uncType": self.unc_type} if self.unc_type else None,
            initSegments=init_segments or None,
        )


Essence = VideoEssence | AudioEssence
