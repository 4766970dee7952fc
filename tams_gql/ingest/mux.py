"""Writing one segment: packets of one stream into MPEG-TS or a movie fragment.

Times are written exactly as given. FFmpeg's muxers like to move them: MPEG-TS adds twice its
``max_delay``, which is subtracted here first so that the clock reference runs ahead of decoding;
fragmented MP4 starts at zero unless told that fragments are discontinuous.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from tams_gql.ingest.codecs import USUAL_LAYOUTS, Container
from tams_gql.ingest.isobmff import split_initialisation
from tams_gql.ingest.media_input import MediaStream
from tams_gql.ingest.parameter_sets import (
    AacConfig,
    is_annex_b,
    with_parameter_sets,
    without_adts,
)
from tams_gql.ingest.plan import PCR_LEAD_TICKS
from tams_gql.ingest.probe import codec_name
from tams_gql.ingest.ticks import TS_TIME_BASE

_FORMATS: Final[dict[Container, str]] = {"ts": "mpegts", "fmp4": "mp4"}

_MAX_DELAY_US: Final = int(PCR_LEAD_TICKS * TS_TIME_BASE * 1_000_000) // 2

_TS_OPTIONS: Final = {
    # Counters start anew in each segment; this says so to who plays one after the other.
    "mpegts_flags": "+initial_discontinuity",
    "max_delay": str(_MAX_DELAY_US),
    # One PES packet per frame: else only the first of several frames has a time of its own.
    "pes_payload_size": "0",
    # Each segment begins with its tables; repeating them and the clock reference (milliseconds)
    # more often than needed would make small audio segments half as big again.
    "pat_period": "1",
    "sdt_period": "10",
    "pcr_period": "80",
}

# FFmpeg learns the set-up of these codecs from their packets, so their "moov" has to wait.
_DESCRIBED_BY_PACKETS: Final = frozenset({"ac3", "eac3"})


@dataclass(frozen=True, slots=True)
class WrittenSegment:
    """A segment's bytes: ``size`` of them from ``offset`` in ``path``.

    ``initialisation`` is what a reader needs before them (fragmented MP4), else empty.
    """

    path: Path
    offset: int
    size: int
    initialisation: bytes = b""


class SegmentWriter:
    """Writes one segment to ``path``; ``close`` returns it."""

    def __init__(
        self,
        path: Path,
        container: Container,
        template: MediaStream,
        time_base: Fraction,
        *,
        number: int = 1,
        adts: AacConfig | None = None,
    ) -> None:
        self._path = path
        self._container = container
        self._codec = codec_name(template)
        self._time_base = time_base
        self._first = True
        self._strips_adts = adts is not None
        header = template.codec_context.extradata or b""
        self._header = header if is_annex_b(header) else b""
        self._delay = PCR_LEAD_TICKS if container == "ts" else 0
        self._output = _open(path, container, self._codec, number)
        self._stream = self._add_stream(template, adts)

    def _add_stream(self, template: MediaStream, adts: AacConfig | None) -> Stream:
        stream = self._output.add_stream_from_template(template, opaque=True)
        stream.time_base = self._time_base
        if self._container == "fmp4":
            if isinstance(template, AudioStream) and isinstance(stream, AudioStream):
                _name_channels(stream.codec_context, template)
            if self._codec == "hevc":
                stream.codec_context.codec_tag = "hvc1"  # Apple's players want this one
            # FFmpeg's parsers keep re-estimating it, and the initialisation would change with it.
            stream.codec_context.bit_rate = 0
            if adts is not None and not stream.codec_context.extradata:
                stream.codec_context.extradata = adts.specific_config()
        return stream

    def write(self, packet: Packet[Stream], pts: int, dts: int, duration: int) -> None:
        """Add a packet with these media times, in ticks of the segment's time base."""
        packet = self._adapted(packet)
        packet.stream = self._stream
        packet.time_base = self._time_base
        packet.pts, packet.dts = pts - self._delay, dts - self._delay
        packet.duration = duration
        self._output.mux_one(packet)

    def _adapted(self, packet: Packet[Stream]) -> Packet[Stream]:
        """The packet in the form that this container wants."""
        first, self._first = self._first, False
        if self._container == "fmp4":
            if not self._strips_adts:
                return packet
            data = without_adts(bytes(packet))
        elif first and self._header and self._codec in ("h264", "hevc"):
            data = with_parameter_sets(bytes(packet), self._header, self._codec)
        else:
            return packet
        adapted: Packet[Stream] = Packet(data)
        adapted.is_keyframe = packet.is_keyframe
        return adapted

    def close(self) -> WrittenSegment:
        """Finish the segment and say where its bytes are."""
        self._output.close()
        size = self._path.stat().st_size
        if self._container == "ts":
            return WrittenSegment(self._path, 0, size)
        with self._path.open("rb") as file:
            initialisation, offset = split_initialisation(file)
        return WrittenSegment(self._path, offset, size - offset, initialisation)

    def discard(self) -> None:
        """Give the segment up and remove what was written."""
        self._output.close()
        self._path.unlink(missing_ok=True)


def _name_channels(context: AudioCodecContext, template: AudioStream) -> None:
    """Assume the usual loudspeakers where the source only counts channels, as WAV files may."""
    layout = template.layout
    usual = USUAL_LAYOUTS.get(layout.nb_channels)
    if layout.name.endswith(" channels") and usual is not None:
        context.layout = usual


def _open(path: Path, container: Container, codec: str, number: int) -> OutputContainer:
    if container == "ts":
        options = dict(_TS_OPTIONS)
    else:
        flags = "+empty_moov+default_base_moof+frag_discont+skip_trailer"
        if codec in _DESCRIBED_BY_PACKETS:
            flags += "+delay_moov"
        options = {
            "movflags": flags,
            "use_editlist": "0",
            "fragment_index": str(number),
            "strict": "experimental",
        }
    options["avoid_negative_ts"] = "disabled"
    return av.open(str(path), "w", format=_FORMATS[container], container_options=options)
