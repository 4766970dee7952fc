"""Dividing a stream's packets into parts that can be stored and decoded one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tams_gql.ingest.packet_index import PacketIndex


@dataclass(slots=True)
class Part:
    """Packets ``first`` up to ``stop``, with their times in source ticks.

    ``start``, ``last`` and ``end`` are the first and last presentation time and the end of the
    last sample, of presented packets; ``earliest`` counts hidden ones too. ``leading`` says that
    pictures follow the key frame in the stream which are shown before it (an open GOP).
    """

    first: int
    stop: int
    start: int
    last: int
    end: int
    earliest: int
    shown: int
    shown_ticks: int
    keys: int
    leading: bool = False

    def join(self, after: Part) -> Part:
        """This part with the one ``after`` it."""
        if not self.shown or not after.shown:
            timed = after if after.shown else self
            start, last, end = timed.start, timed.last, timed.end
        else:
            start = min(self.start, after.start)
            last, end = max(self.last, after.last), max(self.end, after.end)
        return Part(
            self.first,
            after.stop,
            start,
            last,
            end,
            min(self.earliest, after.earliest),
            self.shown + after.shown,
            self.shown_ticks + after.shown_ticks,
            self.keys + after.keys,
            self.leading,
        )


def part_of(packets: PacketIndex, first: int, stop: int) -> Part:
    """The packets ``first`` up to ``stop`` as one part."""
    span = range(first, stop)
    shown = [p for p in span if not packets.is_hidden(p)] or list(span)
    _, last = max((packets.pts[p], p) for p in shown)
    hidden_only = packets.is_hidden(shown[0])
    return Part(
        first=first,
        stop=stop,
        start=min(packets.pts[p] for p in shown),
        last=packets.pts[last],
        end=packets.pts[last] + packets.duration[last],
        earliest=min(packets.pts[p] for p in span),
        shown=0 if hidden_only else len(shown),
        shown_ticks=0 if hidden_only else sum(packets.duration[p] for p in shown),
        keys=sum(packets.is_key(p) for p in span),
        leading=any(packets.pts[p] < packets.pts[first] for p in span),
    )


def video_parts(packets: PacketIndex, time_base: Fraction, target: Fraction) -> list[Part]:
    """Cut at the key frames nearest to every ``target`` seconds; see ``plan`` for the rules."""
    groups = list(_separate(_groups(packets)))
    closed = _close_leading(groups)
    limit = max(2 * target / time_base, Fraction(_longest(groups)))
    usable = closed if _longest(closed) <= limit else groups
    return _nearest(usable, target / time_base)


def _groups(packets: PacketIndex) -> Iterator[Part]:
    """The groups of pictures; what comes before the first key frame is left out."""
    count = len(packets)
    first = next((p for p in range(count) if packets.is_key(p)), 0)
    for packet in range(first + 1, count):
        if packets.is_key(packet):
            yield part_of(packets, first, packet)
            first = packet
    yield part_of(packets, first, count)


def _separate(groups: Iterator[Part]) -> Iterator[Part]:
    """Join groups that show nothing or overlap in time with the one before."""
    current = next(groups)
    for group in groups:
        if current.shown and group.shown and group.start > current.last:
            yield current
            current = group
        else:
            current = current.join(group)
    yield current


def _close_leading(groups: Sequence[Part]) -> list[Part]:
    """Join every open group to the one before it, so that each part begins a closed one."""
    closed = [groups[0]]
    for group in groups[1:]:
        if group.leading:
            closed[-1] = closed[-1].join(group)
        else:
            closed.append(group)
    return closed


def _longest(parts: Sequence[Part]) -> int:
    return max(part.end - part.start for part in parts)


def _nearest(groups: Sequence[Part], target: Fraction) -> list[Part]:
    """Join groups so that each part's duration is as near as can be to ``target`` ticks."""
    parts = [groups[0]]
    for group in groups[1:]:
        current = parts[-1]
        goal = current.start + target
        # Cut before this group unless cutting after it comes nearer to the goal.
        if group.start + group.end >= 2 * goal:
            parts.append(group)
        else:
            parts[-1] = current.join(group)
    # A remainder is not worth an object of its own, and some readers do not recognise tiny files.
    if len(parts) > 1 and 2 * (parts[-1].end - parts[-1].start) < target:
        parts[-2:] = [parts[-2].join(parts[-1])]
    return parts


def audio_parts(
    packets: PacketIndex,
    time_base: Fraction,
    target: Fraction,
    video_cuts: Sequence[Fraction],
    video_end: Fraction | None,
) -> list[Part]:
    """Cut at the packets that begin at or after ``video_cuts`` (seconds in source time).

    Where sound goes on for longer than ``target`` before or after the video, and where there is no
    video, the cuts lie ``target`` apart.
    """
    count = len(packets)
    begin = part_of(packets, 0, count)
    grid = _grid(begin.start * time_base, begin.end * time_base, target, video_cuts, video_end)
    bounds = [0]
    packet = 0
    for cut in grid:
        cut_ticks = math.ceil(cut / time_base)
        while packet < count and packets.pts[packet] < cut_ticks:
            packet += 1
        if packet == count:
            break
        if packet > bounds[-1] and not packets.is_hidden(packet - 1):
            bounds.append(packet)
    return [
        part_of(packets, first, stop)
        for first, stop in zip(bounds, [*bounds[1:], count], strict=True)
    ]


def _grid(
    start: Fraction,
    end: Fraction,
    target: Fraction,
    video_cuts: Sequence[Fraction],
    video_end: Fraction | None,
) -> Iterator[Fraction]:
    """The wanted cuts between ``start`` and ``end``, in order; the start itself is none."""
    cuts = video_cuts[1:]
    origin = start
    if video_end is not None:
        first = video_cuts[0]
        yield from _every(target, start, first) if first - start > target else ()
        if first - start > target:
            yield first
        yield from cuts
        if end - video_end <= target:
            return
        yield video_end
        origin = video_end
    yield from _every(target, origin, end)


def _every(step: Fraction, start: Fraction, end: Fraction) -> Iterator[Fraction]:
    """Times ``step`` apart after ``start``, leaving at least half a step before ``end``."""
    number = 1
    while start + number * step + step / 2 <= end:
        yield start + number * step
        number += 1
