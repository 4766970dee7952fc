"""Reading codec headers."""

from __future__ import annotations

import pytest

from tams_gql.ingest.parameter_sets import (
    AacConfig,
    AvcParameters,
    aac_config,
    adts_config,
    annex_b_units,
    avc_parameters,
    is_annex_b,
    with_parameter_sets,
    without_adts,
)

SPS, PPS = b"\x67\x64\x00\x1f\xac", b"\x68\xeb\xe3"
IDR, DELIMITER, SEI = b"\x65\x88\x84", b"\x09\x10", b"\x06\x05\x01"
LONG, SHORT = b"\x00\x00\x00\x01", b"\x00\x00\x01"
HEADER = LONG + SPS + LONG + PPS
HEVC_HEADER = LONG + b"\x40\x01vps" + LONG + b"\x42\x01sps" + LONG + b"\x44\x01pps"
HEVC_IDR, HEVC_DELIMITER = b"\x26\x01slice", b"\x46\x01\x50"


def test_avc_parameters() -> None:
    expected = AvcParameters(profile=100, flags=0, level=31)
    record = b"\x01\x64\x00\x1f\xff\xe1\x00\x05" + SPS
    assert avc_parameters(record) == avc_parameters(HEADER) == expected
    assert avc_parameters(LONG + PPS) is None
    assert avc_parameters(b"") is None


def test_units_between_start_codes() -> None:
    assert [unit.rstrip(b"\x00") for unit in annex_b_units(HEADER + SHORT + IDR)] == [SPS, PPS, IDR]
    assert is_annex_b(HEADER)
    assert is_annex_b(SHORT + SPS)
    assert not is_annex_b(b"\x01\x64\x00\x1f")


@pytest.mark.parametrize(
    ("codec", "header", "packet", "expected"),
    [
        ("h264", HEADER, LONG + IDR, HEADER + LONG + IDR),
        (
            "h264",
            HEADER,
            LONG + DELIMITER + LONG + SEI + SHORT + IDR,
            LONG + DELIMITER + HEADER + LONG + SEI + SHORT + IDR,
        ),
        (
            "h264",
            HEADER,
            LONG + DELIMITER + SHORT + IDR,
            LONG + DELIMITER + HEADER + SHORT + IDR,
        ),
        ("h264", HEADER, HEADER + LONG + IDR, HEADER + LONG + IDR),
        ("hevc", HEVC_HEADER, LONG + HEVC_IDR, HEVC_HEADER + LONG + HEVC_IDR),
        (
            "hevc",
            HEVC_HEADER,
            LONG + HEVC_DELIMITER + LONG + HEVC_IDR,
            LONG + HEVC_DELIMITER + HEVC_HEADER + LONG + HEVC_IDR,
        ),
        ("hevc", HEVC_HEADER, HEVC_HEADER + LONG + HEVC_IDR, HEVC_HEADER + LONG + HEVC_IDR),
    ],
)
def test_missing_parameter_sets_are_added_behind_the_delimiter(
    codec: str, header: bytes, packet: bytes, expected: bytes
) -> None:
    assert with_parameter_sets(packet, header, codec) == expected


def test_aac_configurations() -> None:
    stereo = AacConfig(object_type=2, rate_index=3, channels=2)
    assert aac_config(b"\x11\x90") == stereo
    assert stereo.specific_config() == b"\x11\x90"
    assert stereo.sample_rate == 48_000
    assert aac_config(b"\x2b\x92\x08\x00") == AacConfig(5, 7, 2)  # HE-AAC, announced
    escaped = (31 << 27 | 10 << 21 | 4 << 17 | 1 << 13).to_bytes(4, "big")
    assert aac_config(escaped) == AacConfig(42, 4, 1)
    assert aac_config(b"\x11") is None
    assert AacConfig(2, 15, 2).sample_rate is None


def test_adts_headers() -> None:
    plain = bytes.fromhex("fff14c8003dffc") + b"payload"
    checked = bytes.fromhex("fff04c8003dffc0000") + b"payload"
    for packet in (plain, checked):
        assert adts_config(packet) == AacConfig(2, 3, 2)
        assert without_adts(packet) == b"payload"
    assert adts_config(b"\x21\x10\x04payload") is None
    assert without_adts(b"raw frame") == b"raw frame"
    assert adts_config(b"\xff\xf1") is None
