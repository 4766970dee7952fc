"""Flow bodies to start from; every call returns a fresh copy."""

from __future__ import annotations

from typing import Any

FLOW_ID = "4f79cfd1-c057-47f4-8e4d-1b126ca7bf34"
SOURCE_ID = "2aa143ac-0ab7-4d75-bc32-5c00c13d186f"
MEMBER_ID = "6101df05-06bb-41b8-8af4-cf7cd33df209"
PROFILE_ID = "329b98d6-adeb-418c-8eaf-eca14edc1706"

Body = dict[str, Any]


def _flow(format: str, **rest: Any) -> Body:
    return {"id": FLOW_ID, "source_id": SOURCE_ID, "format": format, **rest}


def video() -> Body:
    essence = {
        "frame_width": 1920,
        "frame_height": 1080,
        "frame_rate": {"numerator": 25},
        "bit_depth": 8,
        "interlace_mode": "progressive",
        "colorspace": "BT709",
        "transfer_characteristic": "SDR",
        "aspect_ratio": {"numerator": 16, "denominator": 9},
        "pixel_aspect_ratio": {"numerator": 1, "denominator": 1},
        "component_type": "YCbCr",
        "horiz_chroma_subs": 2,
        "vert_chroma_subs": 1,
        "avc_parameters": {"profile": 100, "level": 31, "flags": 0},
        "init_segments": False,
    }
    return _flow(
        "urn:x-nmos:format:video",
        label="Camera 1",
        description="Wide shot",
        created_by="gallery",
        updated_by="gallery",
        tags={"camera": "1", "genre": ["news", "sport"]},
        metadata_version="a7",
        generation=0,
        status="ingesting",
        read_only=False,
        max_bit_rate=6000,
        avg_bit_rate=5000,
        codec="video/h264",
        container="video/mp2t",
        segment_duration={"numerator": 10, "denominator": 1},
        container_mapping={"track_index": 0, "mp2ts_container": {"pid": 256}},
        essence_parameters=essence,
    )


def variable_rate_video() -> Body:
    body = video()
    del body["essence_parameters"]["frame_rate"]
    body["essence_parameters"]["vfr"] = True
    return body


def raw_video() -> Body:
    body = video()
    body["codec"] = "video/raw"
    del body["essence_parameters"]["avc_parameters"]
    body["essence_parameters"]["unc_parameters"] = {"unc_type": "UYVY"}
    return body


def audio() -> Body:
    return _flow(
        "urn:x-nmos:format:audio",
        codec="audio/aac",
        container="audio/mp4",
        container_mapping={
            "format_track_index": 1,
            "audio_track": {"channel_numbers": [0, 1], "channel_range": "0_1"},
            "mxf_container": {"package_uid": f"urn:uuid:{FLOW_ID}", "track_id": 2},
            "isobmff_container": {"track_id": 2},
        },
        essence_parameters={
            "sample_rate": 48000,
            "channels": 2,
            "bit_depth": 24,
            "codec_parameters": {"coded_frame_size": 1024, "mp4_oti": 2},
            "init_segments": True,
        },
    )


def raw_audio() -> Body:
    body = audio()
    body["codec"] = "audio/x-raw-int"
    del body["essence_parameters"]["codec_parameters"]
    body["essence_parameters"]["unc_parameters"] = {"unc_type": "interleaved"}
    return body


def image() -> Body:
    return _flow(
        "urn:x-tam:format:image",
        codec="image/jpeg",
        essence_parameters={
            "frame_width": 320,
            "frame_height": 180,
            "aspect_ratio": {"numerator": 16, "denominator": 9},
        },
    )


def data() -> Body:
    return _flow(
        "urn:x-nmos:format:data",
        codec="application/ttml+xml",
        essence_parameters={"data_type": "urn:x-tams:data:subtitle", "init_segments": False},
    )


def multi() -> Body:
    return _flow(
        "urn:x-nmos:format:multi",
        container="video/mp2t",
        flow_collection=[
            {"id": MEMBER_ID, "role": "sound", "container_mapping": {"track_index": 1}}
        ],
        essence_parameters={"init_segments": False},
    )


def from_profile() -> Body:
    return {
        "id": FLOW_ID,
        "source_id": SOURCE_ID,
        "label": "Camera 1",
        "tags": {"camera": "1"},
        "x_studio": {"desk": 4},
        "profile_id": PROFILE_ID,
    }


def profile() -> Body:
    technical = {
        key: item
        for key, item in video().items()
        if key in ("format", "codec", "container", "segment_duration", "essence_parameters")
    }
    return {
        "id": PROFILE_ID,
        "label": "HD",
        "description": "HD from the studio",
        "created_by": "engineering",
        "tags": {"tier": "1"},
        "flow_metadata": technical,
    }
