"""Reading HLS playlists."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tams_gql.ingest.errors import UnusableMedia
from tams_gql.ingest.hls_playlist import (
    AudioRendition,
    ListedSegment,
    MasterPlaylist,
    MediaPlaylist,
    Resource,
    Variant,
    parse_playlist,
)

BASE = "https://user:secret@cdn.example/show/index.m3u8?token=abc"
FOLDER = "https://user:secret@cdn.example/show"

MEDIA = """\
#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:6
#EXT-X-MEDIA-SEQUENCE:41
#EXT-X-DISCONTINUITY-SEQUENCE:3
# a comment
#EXT-X-MAP:URI="init.mp4",BYTERANGE="700@0"
#EXTINF:5.96,Title, with comma
#EXT-X-BYTERANGE:1000@700
all.mp4
#EXTINF:6
#EXT-X-BYTERANGE:500
all.mp4
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="other/init.mp4"
#EXT-X-KEY:METHOD=NONE
#EXT-X-GAP
#EXTINF:6.0,
other/1.m4s
#EXT-X-ENDLIST
"""

MASTER = """\
#EXTM3U
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="English",URI="s.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="hi",NAME="Deutsch",LANGUAGE="de",URI="de.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="hi",NAME="English",LANGUAGE="en",DEFAULT=YES,URI="en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="in",NAME="Inside",DEFAULT=YES
#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=640x360,CODECS="avc1.4d401e,mp4a.40.2",AUDIO="in"
low.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=3000000,RESOLUTION=1280x720,AUDIO="hi"
high.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=5000000,RESOLUTION=1280x720,AUDIO="hi"
higher.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=9000000,URI="i.m3u8"
"""


def test_a_media_playlist() -> None:
    init = Resource(f"{FOLDER}/init.mp4", (0, 700))
    assert parse_playlist(MEDIA, BASE) == MediaPlaylist(
        target_duration=Fraction(6),
        segments=[
            ListedSegment(41, 3, Resource(f"{FOLDER}/all.mp4", (700, 1000)), init),
            ListedSegment(42, 3, Resource(f"{FOLDER}/all.mp4", (1700, 500)), init),
            ListedSegment(
                *(43, 4, Resource(f"{FOLDER}/other/1.m4s")),
                initialisation=Resource(f"{FOLDER}/other/init.mp4"),
                gap=True,
            ),
        ],
        ended=True,
    )


def test_a_master_playlist() -> None:
    master = parse_playlist(MASTER, BASE)
    assert isinstance(master, MasterPlaylist)
    assert master.best() == Variant(f"{FOLDER}/higher.m3u8", 5_000_000, 1280 * 720, "hi")
    assert master.audio_of(master.best()) == AudioRendition(
        f"{FOLDER}/en.m3u8", "hi", default=True, language="en"
    )
    assert master.audio_of(master.variants[0]) is None  # its audio is inside its own segments


def test_a_segment_is_named_by_its_sequence_numbers() -> None:
    playlist = parse_playlist(MEDIA, BASE)
    assert isinstance(playlist, MediaPlaylist)
    assert [segment.key for segment in playlist.segments] == ["3/41", "3/42", "4/43"]


HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:6\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not an HLS playlist"),
        ("<html></html>", "is not an HLS playlist"),
        ("#EXTM3U\n", "has neither variants nor a target duration"),
        (
            f'{HEAD}#EXT-X-KEY:METHOD=AES-128,URI="key"\n#EXTINF:6,\na.ts\n',
            "is encrypted (AES-128); only clear HLS can be ingested",
        ),
        (
            '#EXTM3U\n#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI="skd://x"\n',
            "is encrypted (SAMPLE-AES); only clear HLS can be ingested",
        ),
        (f"{HEAD}a.ts\n", "line 3 of the playlist is malformed: 'a.ts'"),
        (f"{HEAD}#EXTINF:long,\na.ts\n", "line 3 of the playlist is malformed: '#EXTINF:long,'"),
        (
            f"{HEAD}#EXT-X-MEDIA-SEQUENCE:x\n",
            "line 3 of the playlist is malformed: '#EXT-X-MEDIA-SEQUENCE:x'",
        ),
        (
            f"{HEAD}#EXTINF:6,\n#EXT-X-BYTERANGE:5\na.ts\n",
            "line 5 of the playlist is malformed: 'a.ts'",
        ),
        (
            "#EXTM3U\n#EXT-X-TARGETDURATION:1/0\n",
            "line 2 of the playlist is malformed: '#EXT-X-TARGETDURATION:1/0'",
        ),
        (
            "#EXTM3U\n#EXT-X-TARGETDURATION:1e999999999\n",
            "line 2 of the playlist is malformed: '#EXT-X-TARGETDURATION:1e999999999'",
        ),
        (
            "#EXTM3U\n#EXT-X-TARGETDURATION:-6\n",
            "line 2 of the playlist is malformed: '#EXT-X-TARGETDURATION:-6'",
        ),
        (f"{HEAD}#EXT-X-MAP:X=1\n", "line 3 of the playlist is malformed: '#EXT-X-MAP:X=1'"),
    ],
)
def test_what_cannot_be_read_is_named_without_secrets(text: str, reason: str) -> None:
    with pytest.raises(UnusableMedia) as caught:
        parse_playlist(text, BASE)
    assert caught.value.message == f"https://cdn.example/show/index.m3u8: {reason}"
