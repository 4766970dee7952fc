"""The first pass over a media file: every packet's times and flags, nothing decoded.

A scan costs one read of the file. In return the segments are known before the first is written:
their exact time ranges, which of them the catalog already has, the measured frame rate, the
number of steps of the progress bar.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from tams_gql.ingest.codecs import CONTAINER_NAMES, USUAL_LAYOUTS, Container, find_codec
from tams_gql.ingest.errors import UnusableMedia
from tams_gql.ingest.essence import AudioEssence, Essence, VideoEssence
from tams_gql.ingest.frame_rate import measure_frame_rate
from tams_gql.ingest.media_input import (
    MediaStream,
    left_out,
    media_errors,
    media_streams,
    open_media,
)
from tams_gql.ingest.packet_index import HIDDEN, KEY, PacketIndex
from tams_gql.ingest.parameter_sets import AacConfig, adts_config
from tams_gql.ingest.probe import codec_name, probe_audio, probe_video
from tams_gql.ingest.ticks import round_half_up


@dataclass(slots=True)
class StreamScan:
    """One video or audio stream: what it is and where its packets lie in time.

    ``preroll`` and ``padding`` count samples at the start and end that are coded but not part of
    the sound (encoder delay). ``frame_ticks`` is the usual length of a packet. ``track`` is the
    container's own id of the stream: the PID of MPEG-TS, the track id of MP4.
    """

    index: int
    track: int
    codec: str
    time_base: Fraction
    essence: Essence
    packets: PacketIndex = field(default_factory=PacketIndex)
    preroll: int = 0
    padding: int = 0
    frame_ticks: int = 1
    adts: AacConfig | None = None
    language: str | None = None

    @property
    def is_video(self) -> bool:
        """Video; otherwise it is audio."""
        return isinstance(self.essence, VideoEssence)


@dataclass(frozen=True, slots=True)
class MediaScan:
    """A scanned file: its streams, video first, and remarks for the user.

    ``format_name`` is FFmpeg's name of the container it was read from.
    """

    path: Path
    format_name: str
    streams: list[StreamScan]
    remarks: list[str]


def scan_file(path: Path, container: Container | None, source: str | None = None) -> MediaScan:
    """Read the packets of ``path``, for storage in ``container``; None stores it as it is.

    ``source`` names the file in errors, by default its path. Raises ``UnusableMedia`` when it
    cannot be read to its end, a codec cannot be stored in the container, or timestamps are missing
    or run backwards.
    """
    source = source or str(path)
    with open_media(source, path) as media:
        streams = media_streams(source, media)
        if container is not None:
            refuse_codecs(source, streams, container)
        scans = {stream.index: _begin(stream) for stream in streams}
        with media_errors(source):
            for packet in media.demux(*streams):
                if packet.size:
                    _take(source, scans[packet.stream_index], packet)
        kept = [scans[s.index] for s in streams if len(scans[s.index].packets)]
        if not kept:
            raise UnusableMedia(source, "has no packets: it is empty or truncated")
        remarks = left_out(media, streams)
        for scan in kept:
            _finish(source, scan, media)
        return MediaScan(path, media.format.name, kept, remarks)


def refuse_codecs(source: str, streams: list[MediaStream], container: Container) -> None:
    """Raise ``UnusableMedia`` naming a codec that cannot live in ``container``."""
    for stream in streams:
        name = codec_name(stream)
        codec = find_codec(name)
        if codec is not None and container in codec.containers:
            _refuse_channels(source, stream)
            continue
        hint = ""
        if codec is not None and codec.containers:
            hint = f" (--container {min(codec.containers)} can carry it)"
        raise UnusableMedia(
            source, f"{name} {stream.type} cannot be stored in {CONTAINER_NAMES[container]}{hint}"
        )


def _refuse_channels(source: str, stream: MediaStream) -> None:
    if not isinstance(stream, AudioStream) or not codec_name(stream).startswith("pcm_"):
        return
    count = stream.codec_context.channels
    if stream.layout.name.endswith(" channels") and count not in USUAL_LAYOUTS:
        raise UnusableMedia(source, f"does not say what its {count} audio channels are")


def describe(stream: MediaStream, adts: AacConfig | None = None) -> Essence:
    """The essence of a stream, a video's frame rate still unknown."""
    return probe_video(stream) if isinstance(stream, VideoStream) else probe_audio(stream, adts)


def _begin(stream: MediaStream) -> StreamScan:
    if stream.time_base is None:
        raise UnusableMedia(stream.container.name, f"stream {stream.index} has no time base")
    return StreamScan(
        index=stream.index,
        track=stream.id,
        codec=codec_name(stream),
        time_base=stream.time_base,
        essence=describe(stream),
        language=stream.language if stream.language not in (None, "und") else None,
    )


def _take(source: str, scan: StreamScan, packet: Packet[Stream]) -> None:
    pts = packet.pts if packet.pts is not None else packet.dts
    if pts is None:
        raise UnusableMedia(source, f"stream {scan.index} has packets without timestamps")
    flags = (KEY if packet.is_keyframe else 0) | (HIDDEN if packet.is_discard else 0)
    if scan.codec == "aac" and not len(scan.packets):
        scan.adts = adts_config(bytes(packet))
    if not scan.is_video:
        _take_skipped(scan, packet)
    scan.packets.append(pts, packet.dts, packet.duration or 0, packet.size, flags)


def _take_skipped(scan: StreamScan, packet: Packet[Stream]) -> None:
    start, end = 0, 0
    if packet.has_sidedata("skip_samples"):
        start, end = struct.unpack_from("<II", bytes(packet.get_sidedata("skip_samples")))
    if not len(scan.packets):
        scan.preroll = start
    scan.padding = end  # the last packet's stays: only there is it the end of the sound


def _finish(source: str, scan: StreamScan, media: InputContainer) -> None:
    stream = media.streams[scan.index]
    if isinstance(stream, VideoStream):
        _finish_video(scan, stream)
    elif isinstance(stream, AudioStream):
        _finish_audio(scan, stream)
    scan.packets.fill_durations(scan.frame_ticks)
    wrong = scan.packets.settle_dts(scan.frame_ticks)
    if wrong is not None:
        seconds = scan.packets.dts[wrong] * scan.time_base
        raise UnusableMedia(
            source,
            f"timestamps of stream {scan.index} run backwards at packet {wrong} "
            f"({float(seconds):.3f} s): split the file there first",
        )


def _finish_video(scan: StreamScan, stream: VideoStream) -> None:
    assert isinstance(scan.essence, VideoEssence)
    claimed = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    hints = [Fraction(rate) for rate in claimed if rate]
    pts = scan.packets.presented_pts()
    rate = measure_frame_rate(pts, scan.time_base, hints)
    scan.essence = scan.essence.with_frame_rate(rate)
    if rate is not None:
        scan.frame_ticks = max(1, round_half_up(1 / (rate * scan.time_base)))
    elif len(pts) > 1:
        scan.frame_ticks = max(1, int(pts[-1] - pts[0]) // (len(pts) - 1))


def _finish_audio(scan: StreamScan, stream: AudioStream) -> None:
    if scan.adts is not None:
        scan.essence = probe_audio(stream, scan.adts)
    essence = scan.essence
    assert isinstance(essence, AudioEssence)
    if essence.coded_frame_size:
        length = Fraction(essence.coded_frame_size, essence.sample_rate) / scan.time_base
        scan.frame_ticks = max(1, round_half_up(length))
    else:
        scan.frame_ticks = max(1, *scan.packets.duration[:1])
    if scan.preroll:
        _hide_preroll(scan, essence.sample_rate)


def _hide_preroll(scan: StreamScan, sample_rate: int) -> None:
    """Mark packets that end before the first sample of sound; not every demuxer does."""
    packets = scan.packets
    first = packets.pts[0] + round_half_up(Fraction(scan.preroll, sample_rate) / scan.time_base)
    for packet in range(len(packets)):
        if packets.pts[packet] + (packets.duration[packet] or scan.frame_ticks) > first:
            break
        packets.flags[packet] |= HIDDEN
