"""Flow bodies: what is kept, what is dropped, and which field a refusal names."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tams_gql.model.errors import BadInput
from tams_gql.model.essence import AudioEssence, Essence, VideoEssence
from tams_gql.model.flow import (
    SERVER_MANAGED_KEYS,
    AudioFlow,
    DataFlow,
    FlowBody,
    ImageFlow,
    MultiFlow,
    VideoFlow,
    parse_flow,
    patch_flow,
)
from tams_gql.model.formats import ContentFormat, FlowStatus
from tests.model import flow_bodies
from tests.model.flow_bodies import FLOW_ID, MEMBER_ID, SOURCE_ID, Body

Build = Callable[[], Body]

BODIES: list[tuple[Build, type[FlowBody], ContentFormat]] = [
    (flow_bodies.video, VideoFlow, ContentFormat.VIDEO),
    (flow_bodies.variable_rate_video, VideoFlow, ContentFormat.VIDEO),
    (flow_bodies.raw_video, VideoFlow, ContentFormat.VIDEO),
    (flow_bodies.audio, AudioFlow, ContentFormat.AUDIO),
    (flow_bodies.raw_audio, AudioFlow, ContentFormat.AUDIO),
    (flow_bodies.image, ImageFlow, ContentFormat.IMAGE),
    (flow_bodies.data, DataFlow, ContentFormat.DATA),
    (flow_bodies.multi, MultiFlow, ContentFormat.MULTI),
]
GONE = object()


def changed(body: Body, path: str, value: object) -> Body:
    """``body`` with the value at a dotted path set, or removed when it is ``GONE``."""
    *parents, last = path.split(".")
    inner: Any = body
    for name in parents:
        inner = inner[int(name)] if isinstance(inner, list) else inner.setdefault(name, {})
    if value is GONE:
        del inner[last]
    elif isinstance(inner, list):
        inner[int(last)] = value
    else:
        inner[last] = value
    return body


@pytest.mark.parametrize(("build", "model", "format"), BODIES)
def test_each_format_round_trips(
    build: Build, model: type[FlowBody], format: ContentFormat
) -> None:
    sent = build()
    flow = parse_flow(sent)
    assert type(flow) is model
    assert flow.format is format
    assert flow.to_json() == sent == build()


def test_a_flow_has_its_fields_typed() -> None:
    flow = parse_flow(flow_bodies.video())
    assert (flow.id, flow.source_id, flow.profile_id) == (FLOW_ID, SOURCE_ID, None)
    assert (flow.label, flow.description) == ("Camera 1", "Wide shot")
    assert flow.tags == {"camera": "1", "genre": ["news", "sport"]}
    assert flow.status is FlowStatus.INGESTING
    assert (flow.generation, flow.read_only, flow.metadata_version) == (0, False, "a7")
    assert (flow.avg_bit_rate, flow.max_bit_rate) == (5000, 6000)
    assert (flow.codec, flow.container) == ("video/h264", "video/mp2t")
    assert isinstance(flow.essence, VideoEssence)
    assert flow.essence is flow.essence_parameters
    rate = flow.essence.frame_rate
    assert rate is not None
    assert (rate.numerator, rate.denominator) == (25, 1)


def test_what_was_left_out_stays_left_out() -> None:
    body = flow_bodies.multi()
    del body["essence_parameters"], body["flow_collection"], body["container"]
    flow = parse_flow(body)
    assert flow.to_json() == body
    assert (flow.tags, flow.flow_collection, flow.read_only, flow.essence) == ({}, [], False, None)


def test_essence_parameters_have_the_defaults_of_the_specification() -> None:
    body = flow_bodies.audio()
    del body["essence_parameters"]["init_segments"]
    essence = parse_flow(body).essence
    assert isinstance(essence, AudioEssence)
    assert essence.init_segments is False
    assert "init_segments" not in essence.to_json()


def test_what_the_catalog_manages_is_dropped_unread() -> None:
    sent = {**flow_bodies.video(), **dict.fromkeys(SERVER_MANAGED_KEYS, "anything at all")}
    assert parse_flow(sent).to_json() == flow_bodies.video()


def test_vendor_keys_are_kept_wherever_the_specification_lets_them() -> None:
    body = flow_bodies.video()
    body["flow_collection"] = [{"id": MEMBER_ID, "x_item": None}]
    vendor: dict[str, object] = {"a": [1, 2.5, None, {"b": True}], "created": "kept in here"}
    for path in (
        "x_vendor",
        "to_json",
        "essence",
        "model_config",
        "__class__",
        "segment_duration.x_vendor",
        "container_mapping.x_vendor",
        "container_mapping.mp2ts_container.x_vendor",
        "flow_collection.0.x_vendor",
        "flow_collection.0.container_mapping.x_vendor",
        "essence_parameters.frame_rate.x_vendor",
        "essence_parameters.avc_parameters.x_vendor",
    ):
        changed(body, path, deepcopy(vendor))
    flow = parse_flow(body)
    assert flow.to_json() == body
    assert isinstance(flow.essence, Essence)


def test_ids_become_lower_case() -> None:
    body = flow_bodies.multi()
    body["id"] = FLOW_ID.upper()
    body["flow_collection"][0]["id"] = MEMBER_ID.upper()
    assert parse_flow(body).to_json() == flow_bodies.multi()


def test_the_sent_body_is_not_changed_and_not_shared() -> None:
    body = {**flow_bodies.video(), "created": "2024-01-01T00:00:00Z"}
    before = deepcopy(body)
    flow = parse_flow(body)
    assert body == before
    body["tags"]["genre"].append("x")
    body["essence_parameters"]["frame_rate"]["numerator"] = 50
    assert flow.to_json() == flow_bodies.video()


V = "essence_parameters."
TOO_LONG_LABEL = "x" * 1_025

BAD_VIDEO: list[tuple[str, object, str]] = [
    ("id", GONE, "is required"),
    ("id", "nonsense", "a UUID of version 1 to 5"),
    ("source_id", GONE, "is required"),
    ("source_id", 7, "7 is not allowed"),
    ("format", GONE, "is required"),
    ("format", None, "is required"),
    ("format", "video", "one of urn:x-nmos:format:video,"),
    ("format", ["urn:x-nmos:format:video"], "one of urn:x-nmos:format:video,"),
    ("codec", GONE, "is required"),
    ("codec", "h264", "type/subtype"),
    ("codec", 5, "type/subtype"),
    ("container", "video mp2t", "type/subtype"),
    ("container", None, "leave the key out"),
    ("label", None, "leave the key out"),
    ("label", 5, "5 is not allowed; a string"),
    ("label", TOO_LONG_LABEL, "at most 1024 characters"),
    ("description", "x" * 16_385, "at most 16384 characters"),
    ("created_by", "x" * 257, "at most 256 characters"),
    ("updated_by", ["x"], "a string"),
    ("metadata_version", 3, "a string"),
    ("metadata_version", "x" * 257, "at most 256 characters"),
    ("tags", None, "an object of tag names"),
    ("tags", ["a"], "an object of tag names"),
    ("tags.camera", 1, "a string or a list of strings"),
    ("tags.genre.1", 1, "a string of 0 to 1024 characters"),
    ("generation", -1, "greater than or equal to 0"),
    ("generation", "0", "a whole number"),
    ("generation", 0.0, "a whole number"),
    ("generation", 2**31, "less than or equal to 2147483647"),
    ("status", "done", "'awaiting_content', 'ingesting'"),
    ("status", 5, "'awaiting_content', 'ingesting'"),
    ("read_only", "false", "true or false"),
    ("read_only", 0, "true or false"),
    ("avg_bit_rate", -1, "greater than or equal to 0"),
    ("avg_bit_rate", 2**31, "less than or equal to 2147483647"),
    ("max_bit_rate", -1, "greater than or equal to 0"),
    ("max_bit_rate", True, "a whole number"),
    ("segment_duration", 10, "a JSON object"),
    ("segment_duration", {}, ""),
    ("segment_duration.numerator", 0, "greater than 0"),
    ("segment_duration.denominator", 0, "greater than 0"),
    ("segment_duration.denominator", None, "leave the key out"),
    ("container_mapping.track_index", -1, "greater than or equal to 0"),
    ("container_mapping.format_track_index", "1", "a whole number"),
    ("container_mapping.audio_track.channel_numbers", [], "at least 1 item"),
    ("container_mapping.audio_track.channel_numbers.1", -1, "greater than or equal to 0"),
    ("container_mapping.audio_track.channel_range", "0-1", "pattern"),
    ("container_mapping.mp2ts_container.pid", 8_192, "less than or equal to 8191"),
    ("container_mapping.mxf_container.package_uid", "urn:uuid:1", "pattern"),
    ("container_mapping.mxf_container.track_id", 1.5, "a whole number"),
    ("container_mapping.isobmff_container", [], "a JSON object"),
    ("flow_collection", {}, "a list"),
    ("essence_parameters", GONE, "is required"),
    ("essence_parameters", [], "a JSON object"),
    (V + "frame_width", GONE, "is required"),
    (V + "frame_width", 0, "0 is not allowed; greater than 0"),
    (V + "frame_width", -5, "greater than 0"),
    (V + "frame_width", 1920.0, "a whole number"),
    (V + "frame_width", "1920", "a whole number"),
    (V + "frame_width", True, "a whole number"),
    (V + "frame_width", 2**31, "less than or equal to 2147483647"),
    (V + "frame_height", float("nan"), "a finite number"),
    (V + "frame_height", 2**80, "an integer of at most 64 bits"),
    (V + "bit_depth", 0, "greater than 0"),
    (V + "interlace_mode", "tff", "'progressive', 'interlaced_tff'"),
    (V + "colorspace", "bt709", "'BT601', 'BT709'"),
    (V + "transfer_characteristic", "", "'SDR', 'HLG' or 'PQ'"),
    (V + "component_type", "YUV", "'YCbCr' or 'RGB'"),
    (V + "aspect_ratio.denominator", GONE, "is required"),
    (V + "aspect_ratio.numerator", 0, "greater than 0"),
    (V + "pixel_aspect_ratio.denominator", -1, "greater than 0"),
    (V + "horiz_chroma_subs", 0, "greater than 0"),
    (V + "vert_chroma_subs", 0, "greater than 0"),
    (V + "avc_parameters.level", GONE, "is required"),
    (V + "avc_parameters.profile", 256, "less than or equal to 255"),
    (V + "avc_parameters.flags", -1, "greater than or equal to 0"),
    (V + "unc_parameters", {"unc_type": "NV12"}, ""),
    (V + "frame_rate", GONE, "is required unless vfr is true"),
    (V + "frame_rate", {}, ""),
    (V + "frame_rate.numerator", GONE, "is required"),
    (V + "frame_rate.denominator", 0, "greater than 0"),
    (V + "vfr", "true", "true or false"),
    (V + "vfr", None, "leave the key out"),
    (V + "init_segments", 1, "true or false"),
    (V + "frame_size", 5, "no such key here; only frame_width, frame_height, bit_depth"),
    (V + "sample_rate", 48000, "no such key here"),
]
# Where the offending key lies deeper than the one that the case sets.
DEEPER = {
    ("segment_duration", "{}"): "segment_duration.numerator",
    (V + "unc_parameters", "{'unc_type': 'NV12'}"): V + "unc_parameters.unc_type",
    (V + "frame_rate", "{}"): V + "frame_rate.numerator",
}


@pytest.mark.parametrize(("path", "value", "said"), BAD_VIDEO)
def test_a_bad_video_flow_names_the_field(path: str, value: object, said: str) -> None:
    body = flow_bodies.video()
    changed(body, "container_mapping.audio_track.channel_numbers", [0, 1])
    changed(body, path, value)
    expected = DEEPER.get((path, str(value)), path)
    for prefix in ("", "input.video"):
        with pytest.raises(BadInput) as caught:
            parse_flow(body, field=prefix)
        assert caught.value.field == (f"{prefix}.{expected}" if prefix else expected)
        assert caught.value.message.startswith(f"{caught.value.field}: ")
        assert said in caught.value.message
        assert len(caught.value.message) < 700


@pytest.mark.parametrize(
    ("build", "path", "value", "field", "said"),
    [
        # A variable rate is never stated.
        (
            flow_bodies.variable_rate_video,
            V + "frame_rate",
            {"numerator": 25},
            V + "frame_rate",
            "must be left out when vfr is true",
        ),
        (
            flow_bodies.variable_rate_video,
            V + "vfr",
            False,
            V + "frame_rate",
            "is required unless vfr is true",
        ),
        # Uncompressed pictures.
        (flow_bodies.raw_video, V + "bit_depth", GONE, V + "bit_depth", "required for video/raw"),
        (
            flow_bodies.raw_video,
            V + "unc_parameters",
            GONE,
            V + "unc_parameters",
            "required for video/raw",
        ),
        (
            flow_bodies.raw_video,
            V + "unc_parameters.unc_type",
            GONE,
            V + "unc_parameters.unc_type",
            "is required",
        ),
        (
            flow_bodies.raw_video,
            V + "horiz_chroma_subs",
            GONE,
            V + "horiz_chroma_subs",
            "required for unc_type UYVY",
        ),
        (
            flow_bodies.raw_video,
            V + "vert_chroma_subs",
            GONE,
            V + "vert_chroma_subs",
            "required for unc_type UYVY",
        ),
        (flow_bodies.video, "codec", "VIDEO/RAW", V + "unc_parameters", "required for video/raw"),
        # Sound.
        (flow_bodies.audio, V + "sample_rate", GONE, V + "sample_rate", "is required"),
        (flow_bodies.audio, V + "sample_rate", 0, V + "sample_rate", "greater than 0"),
        (flow_bodies.audio, V + "channels", 2.0, V + "channels", "a whole number"),
        (flow_bodies.audio, V + "frame_rate", {}, V + "frame_rate", "only sample_rate, channels"),
        (
            flow_bodies.audio,
            V + "codec_parameters.mp4_oti",
            "2",
            V + "codec_parameters.mp4_oti",
            "a whole number",
        ),
        (
            flow_bodies.raw_audio,
            V + "bit_depth",
            GONE,
            V + "bit_depth",
            "required for audio/x-raw-int",
        ),
        (
            flow_bodies.raw_audio,
            V + "unc_parameters",
            GONE,
            V + "unc_parameters",
            "required for audio/x-raw-int",
        ),
        (
            flow_bodies.raw_audio,
            V + "unc_parameters.unc_type",
            "UYVY",
            V + "unc_parameters.unc_type",
            "'interleaved', 'planar' or 'pairs'",
        ),
        (
            flow_bodies.raw_audio,
            "codec",
            "audio/x-raw-float",
            V + "bit_depth",
            "24 is not allowed; 32 or 64 for audio/x-raw-float",
        ),
        # The others.
        (flow_bodies.image, V + "frame_height", GONE, V + "frame_height", "is required"),
        (flow_bodies.image, V + "init_segments", False, V + "init_segments", "no such key here"),
        (flow_bodies.image, "codec", GONE, "codec", "is required"),
        (flow_bodies.data, "essence_parameters", GONE, "essence_parameters", "is required"),
        (flow_bodies.data, V + "data_type", 5, V + "data_type", "a string"),
        (flow_bodies.data, V + "x_vendor", 5, V + "x_vendor", "only data_type, init_segments"),
        (flow_bodies.multi, V + "data_type", "x", V + "data_type", "only init_segments"),
        (flow_bodies.multi, V + "init_segments", "yes", V + "init_segments", "true or false"),
        # Collections.
        (flow_bodies.multi, "flow_collection.0.id", GONE, "flow_collection.0.id", "is required"),
        (flow_bodies.multi, "flow_collection.0.id", "x", "flow_collection.0.id", "a UUID"),
        (flow_bodies.multi, "flow_collection.0", MEMBER_ID, "flow_collection.0", "a JSON object"),
        (flow_bodies.multi, "flow_collection.0.role", 5, "flow_collection.0.role", "a string"),
        (
            flow_bodies.multi,
            "flow_collection.0.container_mapping.track_index",
            -1,
            "flow_collection.0.container_mapping.track_index",
            "greater than or equal to 0",
        ),
        (
            flow_bodies.multi,
            "flow_collection.0.id",
            FLOW_ID.upper(),
            "flow_collection.0.id",
            "a flow cannot collect itself",
        ),
        (
            flow_bodies.multi,
            "flow_collection",
            [{"id": MEMBER_ID}, {"id": SOURCE_ID}, {"id": MEMBER_ID.upper()}],
            "flow_collection.2.id",
            "a flow is collected once",
        ),
    ],
)
def test_rules_name_the_field(
    build: Build, path: str, value: object, field: str, said: str
) -> None:
    with pytest.raises(BadInput) as caught:
        parse_flow(changed(build(), path, value))
    assert caught.value.field == field
    assert caught.value.message.startswith(f"{field}: ")
    assert said in caught.value.message


def test_float_samples_have_32_or_64_bits() -> None:
    for bit_depth in (32, 64):
        body = changed(flow_bodies.raw_audio(), V + "bit_depth", bit_depth)
        assert parse_flow({**body, "codec": "audio/x-raw-float"}).codec == "audio/x-raw-float"


@pytest.mark.parametrize("unc_type", ["planar", "RGB", "RGBx", "BGRA", "alpha"])
def test_packings_without_chroma_need_no_subsampling(unc_type: str) -> None:
    body = flow_bodies.raw_video()
    changed(body, V + "unc_parameters.unc_type", unc_type)
    changed(body, V + "horiz_chroma_subs", GONE)
    changed(body, V + "vert_chroma_subs", GONE)
    assert parse_flow(body).to_json() == body


@pytest.mark.parametrize("unc_type", ["YUYV", "UYVY", "AYUV", "v210", "v216"])
@pytest.mark.parametrize("key", ["horiz_chroma_subs", "vert_chroma_subs"])
def test_packings_with_chroma_need_subsampling(unc_type: str, key: str) -> None:
    body = changed(flow_bodies.raw_video(), V + "unc_parameters.unc_type", unc_type)
    with pytest.raises(BadInput) as caught:
        parse_flow(changed(body, V + key, GONE))
    assert caught.value.field == V + key


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_only_an_object_is_a_flow(body: object) -> None:
    with pytest.raises(BadInput, match="a JSON object") as caught:
        parse_flow(body)  # type: ignore[arg-type]
    assert caught.value.field is None


def test_a_body_that_no_cell_could_hold_is_refused() -> None:
    body = flow_bodies.video()
    body["x_vendor"] = "x" * 131_072
    with pytest.raises(BadInput, match=r"the JSON body has 13[0-9]{4} bytes; at most 131072"):
        parse_flow(body)


def test_a_patch_changes_removes_and_keeps() -> None:
    stored = flow_bodies.video()
    flow = patch_flow(
        stored, {"label": "Camera 2", "description": None, "tags": {}, "created": "ignored"}
    )
    expected = {**flow_bodies.video(), "label": "Camera 2", "tags": {}}
    del expected["description"]
    assert flow.to_json() == expected
    assert stored == flow_bodies.video()


def test_a_patch_keeps_vendor_keys_that_are_null() -> None:
    stored = {**flow_bodies.video(), "x_vendor": None, "x_gone": 1}
    flow = patch_flow(stored, {"x_gone": None})
    assert flow.to_json() == {**flow_bodies.video(), "x_vendor": None}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"label": 5}, "input.label"),
        ({"codec": None}, "input.codec"),
        ({"codec": "video/raw"}, "input.essence_parameters.unc_parameters"),
        ({"flow_collection": [{"id": FLOW_ID}]}, "input.flow_collection.0.id"),
        ({"tags": {"a": 1}}, "input.tags.a"),
        ({"label": "\ud800"}, "input.label"),
    ],
)
def test_a_patched_flow_obeys_the_same_rules(changes: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        patch_flow(flow_bodies.video(), changes, field="input")
    assert caught.value.field == field
