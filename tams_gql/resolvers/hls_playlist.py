"""The text of an HLS media playlist (RFC 8216, section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tams_gql.model.time import NS

CONTENT_TYPE = "application/vnd.apple.mpegurl"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTIONS = 3  # the version that has them
_MAPS = 6  # the version in which media other than I-frames may have them


@dataclass(frozen=True, slots=True)
class Entry:
    """One media segment of a playlist.

    ``map_url`` is what initialises it, if anything does. After a ``discontinuity`` timestamps or
    encoding need not go on from the segment before. ``date_us`` is when its first sample was, in
    microseconds UTC.
    """

    url: str
    duration_ns: int
    map_url: str | None
    discontinuity: bool
    date_us: int | None


def target_duration(durations_ns: Iterable[int], at_least_ns: int = 0) -> int:
    """Whole seconds that no duration exceeds once it is rounded (section 4.3.3.1), at least 1."""
    longest = max((at_least_ns, *durations_ns))
    return max((longest + NS // 2) // NS, 1)


def playlist_text(entries: Sequence[Entry], *, target: int, ended: bool) -> str:
    """A playlist to which nothing will be added, or else one that may grow at its end."""
    return "".join(f"{line}\n" for line in _lines(entries, target, ended))


def _lines(entries: Sequence[Entry], target: int, ended: bool) -> Iterator[str]:
    has_map = any(entry.map_url is not None for entry in entries)
    yield "#EXTM3U"
    yield f"#EXT-X-VERSION:{_MAPS if has_map else _FRACTIONS}"
    yield f"#EXT-X-TARGETDURATION:{target}"
    yield "#EXT-X-MEDIA-SEQUENCE:0"
    yield f"#EXT-X-PLAYLIST-TYPE:{'VOD' if ended else 'EVENT'}"
    previous: Entry | None = None
    for entry in entries:
        yield from _segment(entry, previous)
        previous = entry
    if ended:
        yield "#EXT-X-ENDLIST"


def _segment(entry: Entry, previous: Entry | None) -> Iterator[str]:
    if entry.discontinuity:
        yield "#EXT-X-DISCONTINUITY"
    if entry.map_url is not None and (previous is None or previous.map_url != entry.map_url):
        quoted = entry.map_url.replace('"', "%22")
        yield f'#EXT-X-MAP:URI="{quoted}"'
    if entry.date_us is not None and (previous is None or entry.discontinuity):
        yield f"#EXT-X-PROGRAM-DATE-TIME:{_date(entry.date_us)}"
    yield f"#EXTINF:{_seconds(entry.duration_ns)},"
    yield entry.url


def _seconds(duration_ns: int) -> str:
    """A duration to the nanosecond."""
    whole, part = divmod(duration_ns, NS)
    return f"{whole}.{f'{part:09d}'.rstrip('0') or '0'}"


def _date(date_us: int) -> str:
    """To the millisecond, which is as fine as players read it."""
    moment = _EPOCH + timedelta(microseconds=date_us)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
