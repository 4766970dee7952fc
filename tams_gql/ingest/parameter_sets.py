"""What the catalog needs from codec headers: AVC profile bytes, AAC object type, parameter sets.

Only the few header bytes that describe a stream are read here; pictures and samples are never
decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_START_CODE: Final = b"\x00\x00\x01"
_H264_SPS: Final = 7
_H264_DELIMITER: Final = 9
_HEVC_SPS: Final = 33
_HEVC_DELIMITER: Final = 35

_AAC_RATES: Final = (
    *(96000, 88200, 64000, 48000, 44100, 32000, 24000),
    *(22050, 16000, 12000, 11025, 8000, 7350),
)
_AAC_ESCAPE: Final = 31


@dataclass(frozen=True, slots=True)
class AvcParameters:
    """The three bytes that name an AVC stream in a codec string (RFC 6381)."""

    profile: int
    flags: int
    level: int


def avc_parameters(extradata: bytes) -> AvcParameters | None:
    """Profile, constraint flags and level from an ``avcC`` record or an Annex B header."""
    if len(extradata) >= 4 and extradata[0] == 1:
        return AvcParameters(*extradata[1:4])
    for unit in annex_b_units(extradata):
        if unit[0] & 0x1F == _H264_SPS and len(unit) >= 4:
            return AvcParameters(*unit[1:4])
    return None


def annex_b_units(data: bytes) -> Iterator[bytes]:
    """The NAL units between the start codes of an Annex B byte stream, without empty ones."""
    position = data.find(_START_CODE)
    while position >= 0:
        begin = position + len(_START_CODE)
        position = data.find(_START_CODE, begin)
        unit = data[begin:] if position < 0 else data[begin:position]
        if unit:
            yield unit


def is_annex_b(extradata: bytes) -> bool:
    """Whether a stream with this header carries start codes rather than lengths."""
    return extradata.startswith((_START_CODE, b"\x00" + _START_CODE))


def with_parameter_sets(packet: bytes, extradata: bytes, codec: str) -> bytes:
    """``packet`` with its stream's parameter sets in front, when it has none of its own.

    Some encoders send them once for a whole stream; a segment that begins later could then not be
    decoded alone (application note 0005). They stand behind the access unit delimiter.
    """
    wanted, delimiter, shift, mask = (
        (_H264_SPS, _H264_DELIMITER, 0, 0x1F)
        if codec == "h264"
        else (_HEVC_SPS, _HEVC_DELIMITER, 1, 0x3F)
    )
    types = [(unit[0] >> shift) & mask for unit in annex_b_units(packet)]
    if wanted in types:
        return packet
    at = 0
    if types[:1] == [delimiter]:
        second = packet.find(_START_CODE, packet.find(_START_CODE) + 3)
        if second < 0:
            return packet
        # A start code may have one more zero byte in front, which belongs to it.
        at = second - 1 if packet[second - 1] == 0 else second
    return packet[:at] + extradata + packet[at:]


@dataclass(frozen=True, slots=True)
class AacConfig:
    """An MPEG-4 audio configuration: object type, sample rate index and channel configuration."""

    object_type: int
    rate_index: int
    channels: int

    @property
    def sample_rate(self) -> int | None:
        """Samples per second, or None for a reserved index."""
        return _AAC_RATES[self.rate_index] if self.rate_index < len(_AAC_RATES) else None

    def specific_config(self) -> bytes:
        """The two-byte ``AudioSpecificConfig`` (ISO/IEC 14496-3) that fragmented MP4 needs."""
        bits = (self.object_type << 11) | (self.rate_index << 7) | (self.channels << 3)
        return bits.to_bytes(2, "big")


def aac_config(extradata: bytes) -> AacConfig | None:
    """The configuration in an ``AudioSpecificConfig``."""
    if len(extradata) < 2:
        return None
    bits = int.from_bytes(extradata[:4].ljust(4, b"\x00"), "big")
    object_type = bits >> 27
    if object_type == _AAC_ESCAPE:
        return AacConfig(32 + (bits >> 21 & 0x3F), bits >> 17 & 0xF, bits >> 13 & 0xF)
    return AacConfig(object_type, bits >> 23 & 0xF, bits >> 19 & 0xF)


def adts_config(packet: bytes) -> AacConfig | None:
    """The configuration in the ADTS header of an AAC frame, or None when there is no header."""
    if len(packet) < 7 or packet[0] != 0xFF or packet[1] & 0xF6 != 0xF0:
        return None
    return AacConfig(
        object_type=(packet[2] >> 6) + 1,
        rate_index=packet[2] >> 2 & 0xF,
        channels=(packet[2] & 1) << 2 | packet[3] >> 6,
    )


def without_adts(packet: bytes) -> bytes:
    """An AAC frame without its ADTS header, if it has one."""
    if adts_config(packet) is None:
        return packet
    return packet[7 if packet[1] & 1 else 9 :]  # two more bytes when a checksum follows
