"""From a demuxed stream to its technical description."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from av.audio.stream import AudioStream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from tams_gql.ingest.codecs import find_codec
from tams_gql.ingest.essence import AudioEssence, VideoEssence
from tams_gql.ingest.parameter_sets import AacConfig, aac_config, avc_parameters

# FFmpeg's AVFieldOrder. "Bottom coded first, top displayed first" is top field first on screen.
_INTERLACE_MODES: Final = {
    1: "PROGRESSIVE",
    2: "INTERLACED_TFF",
    3: "INTERLACED_BFF",
    4: "INTERLACED_BFF",
    5: "INTERLACED_TFF",
}

# FFmpeg's AVColorSpace and AVColorTransferCharacteristic carry the numbers of ITU-T H.273.
_COLORSPACES: Final = {1: "BT709", 5: "BT601", 6: "BT601", 9: "BT2020", 10: "BT2020"}
_TRANSFERS: Final = {1: "SDR", 6: "SDR", 14: "SDR", 15: "SDR", 16: "PQ", 18: "HLG"}

_CODED_FRAME_SIZES: Final = {
    "ac3": 1536,
    "eac3": 1536,
    "mp1": 384,
    "mp2": 1152,
    "mp3": 1152,
    "aac": 1024,
    "aac_latm": 1024,
}


def codec_name(stream: VideoStream | AudioStream) -> str:
    """FFmpeg's name of the stream's codec, whichever decoder serves it."""
    return stream.codec_context.codec.canonical_name


def probe_video(stream: VideoStream) -> VideoEssence:
    """Describe a video stream; the frame rate is measured separately from the timestamps."""
    context = stream.codec_context
    name = codec_name(stream)
    codec = find_codec(name)
    sampling = context.sample_aspect_ratio
    if not sampling or sampling <= 0:
        sampling = Fraction(1)
    colorspace, transfer = _colour(context)
    depth, horizontal, vertical = _sampling(context)
    rgb = context.format is not None and context.format.is_rgb
    return VideoEssence(
        codec=codec.media_type if codec else f"video/{name}",
        width=context.width,
        height=context.height,
        bit_depth=depth,
        interlace_mode=_INTERLACE_MODES.get(context.field_order),
        colorspace=colorspace,
        transfer_characteristic=transfer,
        aspect_ratio=Fraction(context.width, context.height) * sampling,
        pixel_aspect_ratio=Fraction(sampling),
        component_type="RGB" if rgb else "YCBCR",
        horiz_chroma_subs=horizontal,
        vert_chroma_subs=vertical,
        avc=avc_parameters(context.extradata or b"") if name == "h264" else None,
    )


def _colour(context: VideoCodecContext) -> tuple[str | None, str | None]:
    """Colour space and transfer characteristic, None where the stream does not say."""
    colorspace = _COLORSPACES.get(context.colorspace)
    transfer = _TRANSFERS.get(context.color_trc)
    if transfer in ("PQ", "HLG") and colorspace == "BT2020":
        colorspace = "BT2100"  # the same primaries; the name of the HDR system
    return colorspace, transfer


def _sampling(context: VideoCodecContext) -> tuple[int | None, int | None, int | None]:
    """Bits per component, and luma samples per chroma sample across and down."""
    pixels = context.format
    if pixels is None or not pixels.components:
        return None, None, None
    depth = pixels.components[0].bits
    if pixels.is_rgb or len(pixels.components) < 3:
        return depth, None, None
    # chroma_width(n) is the number of chroma samples across n luma samples.
    return depth, 16 // pixels.chroma_width(16), 16 // pixels.chroma_height(16)


def probe_audio(stream: AudioStream, adts: AacConfig | None = None) -> AudioEssence:
    """Describe an audio stream; ``adts`` is the header of its first frame, where it has one."""
    context = stream.codec_context
    name = codec_name(stream)
    codec = find_codec(name)
    raw = name.startswith("pcm_")
    config = None
    if name == "aac":
        config = aac_config(context.extradata or b"") or adts
    return AudioEssence(
        codec=codec.media_type if codec else f"audio/{name}",
        sample_rate=context.sample_rate,
        channels=context.channels,
        bit_depth=_pcm_bits(name) if raw else None,
        coded_frame_size=None if raw else _coded_frame_size(name, context.frame_size),
        mp4_oti=config.object_type if config else None,
        unc_type=("PLANAR" if name.endswith("_planar") else "INTERLEAVED") if raw else None,
    )


def _coded_frame_size(name: str, frame_size: int) -> int | None:
    return frame_size if frame_size > 1 else _CODED_FRAME_SIZES.get(name)


def _pcm_bits(name: str) -> int:
    digits = "".join(c for c in name.split("_")[1] if c.isdigit())
    return int(digits) if digits else 8  # A-law and µ-law code a sample in eight bits
