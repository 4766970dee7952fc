"""HLS playlists (RFC 8216) as values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final
from urllib.parse import urljoin

from tams_gql.ingest.errors import UnusableMedia
from tams_gql.ingest.transport import shown_url

_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")

ByteRange = tuple[int, int]
"""Offset and size in bytes."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Bytes to fetch: a whole address, or a part of it."""

    uri: str
    byte_range: ByteRange | None = None


@dataclass(frozen=True, slots=True)
class ListedSegment:
    """A media segment of a playlist.

    ``discontinuity`` is its discontinuity sequence number; together with ``sequence`` it names the
    segment for as long as the playlist lives. ``gap`` says that its bytes are missing.
    """

    sequence: int
    discontinuity: int
    content: Resource
    initialisation: Resource | None
    gap: bool = False

    @property
    def key(self) -> str:
        """The name of the segment within its playlist."""
        return f"{self.discontinuity}/{self.sequence}"


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """A playlist of segments; ``target_duration`` is in seconds."""

    target_duration: Fraction
    segments: list[ListedSegment]
    ended: bool


@dataclass(frozen=True, slots=True)
class Variant:
    """One rendition of a master playlist: its video, and the audio group that goes with it."""

    uri: str
    bandwidth: int
    pixels: int
    audio_group: str | None


@dataclass(frozen=True, slots=True)
class AudioRendition:
    """Audio with a playlist of its own."""

    uri: str
    group: str
    default: bool
    language: str | None


@dataclass(frozen=True, slots=True)
class MasterPlaylist:
    """A playlist of playlists."""

    variants: list[Variant]
    audio: list[AudioRendition]

    def best(self) -> Variant:
        """The variant with most pixels, and among those with the highest bit rate."""
        return max(self.variants, key=lambda variant: (variant.pixels, variant.bandwidth))

    def audio_of(self, variant: Variant) -> AudioRendition | None:
        """The audio rendition to play with ``variant``, unless its own segments carry it."""
        group = [item for item in self.audio if item.group == variant.audio_group]
        return max(group, key=lambda item: item.default, default=None)


def parse_playlist(text: str, base: str) -> MediaPlaylist | MasterPlaylist:
    """Read a playlist found at ``base`` (a URL).

    Raises ``UnusableMedia`` when it is none, is malformed, or its segments are encrypted.
    """
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
    if not lines or lines[0] != "#EXTM3U":
        raise UnusableMedia(shown_url(base), "is not an HLS playlist")
    reader = _Reader(base)
    for number, line in enumerate(lines, start=1):
        if not line or (line.startswith("#") and not line.startswith("#EXT")):
            continue
        try:
            reader.take(line)
        except (KeyError, ValueError, IndexError, ArithmeticError) as error:
            raise UnusableMedia(
                shown_url(base), f"line {number} of the playlist is malformed: {line[:80]!r}"
            ) from error
    return reader.playlist()


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


@dataclass(slots=True)
class _Reader:
    """The state between lines."""

    base: str
    target: Fraction | None = None
    sequence: int = 0
    discontinuity: int = 0
    ended: bool = False
    duration: Fraction | None = None
    byte_range: str | None = None
    initialisation: Resource | None = None
    gap: bool = False
    stream: dict[str, str] | None = None
    segments: list[ListedSegment] = field(default_factory=list)
    variants: list[Variant] = field(default_factory=list)
    audio: list[AudioRendition] = field(default_factory=list)

    def take(self, line: str) -> None:
        if not line.startswith("#"):
            self._address(urljoin(self.base, line))
            return
        tag, _, value = line.partition(":")
        match tag:
            case "#EXT-X-TARGETDURATION":
                self.target = _number(value)
            case "#EXT-X-MEDIA-SEQUENCE":
                self.sequence = int(value)
            case "#EXT-X-DISCONTINUITY-SEQUENCE":
                self.discontinuity = int(value)
            case "#EXT-X-DISCONTINUITY":
                self.discontinuity += 1
            case "#EXT-X-ENDLIST":
                self.ended = True
            case "#EXTINF":
                self.duration = _seconds(value)
            case "#EXT-X-BYTERANGE":
                self.byte_range = value
            case "#EXT-X-GAP":
                self.gap = True
            case "#EXT-X-MAP":
                self.initialisation = self._map(_attributes(value))
            case "#EXT-X-KEY" | "#EXT-X-SESSION-KEY":
                self._refuse_encryption(_attributes(value))
            case "#EXT-X-STREAM-INF":
                self.stream = _attributes(value)
            case "#EXT-X-MEDIA":
                self._rendition(_attributes(value))

    def _address(self, uri: str) -> None:
        if self.stream is not None:
            self._variant(uri, self.stream)
            self.stream = None
            return
        if self.duration is None:
            raise ValueError("an address without EXTINF")
        content = Resource(uri, self._range(uri))
        self.segments.append(
            ListedSegment(self.sequence, self.discontinuity, content, self.initialisation, self.gap)
        )
        self.sequence += 1
        self.duration, self.byte_range, self.gap = None, None, False

    def _range(self, uri: str) -> ByteRange | None:
        if self.byte_range is None:
            return None
        size, _, offset = self.byte_range.partition("@")
        if offset:
            return int(offset), int(size)
        previous = self.segments[-1].content
        if previous.uri != uri or previous.byte_range is None:
            raise ValueError("a byte range without an offset")
        return sum(previous.byte_range), int(size)

    def _map(self, attributes: dict[str, str]) -> Resource:
        uri = urljoin(self.base, attributes["URI"])
        if "BYTERANGE" not in attributes:
            return Resource(uri)
        size, _, offset = attributes["BYTERANGE"].partition("@")
        return Resource(uri, (int(offset or 0), int(size)))

    def _refuse_encryption(self, attributes: dict[str, str]) -> None:
        method = attributes["METHOD"]
        if method != "NONE":
            raise UnusableMedia(
                shown_url(self.base), f"is encrypted ({method}); only clear HLS can be ingested"
            )

    def _variant(self, uri: str, attributes: dict[str, str]) -> None:
        width, _, height = attributes.get("RESOLUTION", "0x0").lower().partition("x")
        self.variants.append(
            Variant(
                uri=uri,
                bandwidth=int(attributes.get("BANDWIDTH", 0)),
                pixels=int(width) * int(height),
                audio_group=attributes.get("AUDIO"),
            )
        )

    def _rendition(self, attributes: dict[str, str]) -> None:
        if attributes["TYPE"] != "AUDIO" or "URI" not in attributes:
            return
        self.audio.append(
            AudioRendition(
                uri=urljoin(self.base, attributes["URI"]),
                group=attributes["GROUP-ID"],
                default=attributes.get("DEFAULT") == "YES",
                language=attributes.get("LANGUAGE"),
            )
        )

    def playlist(self) -> MediaPlaylist | MasterPlaylist:
        if self.variants:
            return MasterPlaylist(self.variants, self.audio)
        if self.target is None:
            raise UnusableMedia(shown_url(self.base), "has neither variants nor a target duration")
        return MediaPlaylist(self.target, self.segments, self.ended)


def _seconds(value: str) -> Fraction:
    found = _NUMBER.match(value)
    if found is None:
        raise ValueError(value)
    return Fraction(found[0])


def _number(value: str) -> Fraction:
    # Fraction alone would take "1e999999999", and be as long as that.
    if not _NUMBER.fullmatch(value):
        raise ValueError(value)
    return Fraction(value)
