"""Flow bodies against the examples and the schema of the specification."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tams_gql.model.errors import BadInput
from tams_gql.model.flow import SERVER_MANAGED_KEYS, parse_flow_put
from tams_gql.model.profile import parse_profile
from tests.model import flow_bodies
from tests.model.flow_bodies import FLOW_ID, MEMBER_ID, Body
from tests.spec import NO_SPEC, spec_dir

Path_: TypeAlias = tuple[str | int, ...]


@pytest.fixture(scope="module")
def spec() -> Path:
    directory = spec_dir()
    if directory is None:
        pytest.skip(NO_SPEC)
    return directory


@pytest.fixture(scope="module")
def schema(spec: Path) -> Draft202012Validator:
    def retrieve(uri: str) -> Resource[Any]:
        contents = json.loads((spec / "schemas" / uri).read_text())
        return Resource.from_contents(contents, default_specification=DRAFT202012)

    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]
    return Draft202012Validator({"$ref": "flow-put.json"}, registry=registry)


def is_accepted(body: Body) -> bool:
    try:
        parse_flow_put(body)
    except BadInput:
        return False
    return True


def examples(spec: Path, pattern: str, key: str) -> Iterator[tuple[str, Body]]:
    """Resources in matching example files: those objects, alone or listed, that have ``key``."""
    for file in sorted((spec / "examples").glob(pattern)):
        contents = json.loads(file.read_text())
        for body in contents if isinstance(contents, list) else [contents]:
            if isinstance(body, dict) and key in body:
                yield file.name, body


def collects_itself(body: Body) -> bool:
    return any(member["id"] == body["id"] for member in body.get("flow_collection", []))


def test_every_example_of_a_flow_round_trips(spec: Path) -> None:
    read = set()
    for name, body in examples(spec, "flow*.json", "source_id"):
        if collects_itself(body):
            continue
        expected = {key: item for key, item in body.items() if key not in SERVER_MANAGED_KEYS}
        assert parse_flow_put(body).to_json() == expected, name
        read.add(name)
    assert len(read) >= 18


def test_examples_of_a_flow_that_collects_itself_are_refused(spec: Path) -> None:
    names = set()
    for name, body in examples(spec, "flow*.json", "source_id"):
        if not collects_itself(body):
            continue
        index = [member["id"] for member in body["flow_collection"]].index(body["id"])
        with pytest.raises(BadInput, match="a flow cannot collect itself") as caught:
            parse_flow_put(body)
        assert caught.value.field == f"flow_collection.{index}.id"
        # Nothing else is wrong with it.
        del body["flow_collection"][index]
        expected = {key: item for key, item in body.items() if key not in SERVER_MANAGED_KEYS}
        assert parse_flow_put(body).to_json() == expected
        names.add(name)
    assert {"flow-get-200-multi.json", "flow-put-multi.json"} <= names


def test_every_example_of_a_profile_round_trips(spec: Path) -> None:
    read = set()
    for name, body in examples(spec, "profile*.json", "flow_metadata"):
        expected = {key: item for key, item in body.items() if key != "created"}
        assert parse_profile(body).to_json() == expected, name
        read.add(name)
    assert len(read) >= 5


# Everything of the right and the wrong kind, without the values on which we differ deliberately.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 25, 64, -1, 1.5, 2**31 - 1, "", "x", "video/h264", "a b/c"),
    *("progressive", "BT709", "SDR", "YCbCr", "ingesting", "0_1", f"urn:uuid:{FLOW_ID}"),
    *("urn:x-nmos:format:video", "urn:x-nmos:format:audio", "urn:x-nmos:format:multi"),
    *([], ["x"], [0, 1], [{}], {}, {"numerator": 1}, {"numerator": 25, "denominator": 1}),
    *({"numerator": 0}, {"denominator": 1}, {"unc_type": "planar"}, {"unc_type": "UYVY"}),
    *({"profile": 100, "level": 31, "flags": 0}, {"profile": 100}, {"pid": 256}, {"track_id": 1}),
    *({"a": "b"}, {"a": ["b", "c"]}, {"a": 5}, [{"id": MEMBER_ID}], [{"role": "x"}]),
]
KEYS = [
    *("label", "description", "created_by", "updated_by", "tags", "metadata_version"),
    *("generation", "status", "read_only", "max_bit_rate", "avg_bit_rate", "flow_collection"),
    *("format", "codec", "container", "segment_duration", "container_mapping", "x_vendor"),
    *("essence_parameters", "frame_width", "frame_height", "frame_rate", "vfr", "bit_depth"),
    *("interlace_mode", "colorspace", "transfer_characteristic", "component_type"),
    *("aspect_ratio", "pixel_aspect_ratio", "horiz_chroma_subs", "vert_chroma_subs"),
    *("unc_parameters", "avc_parameters", "codec_parameters", "init_segments", "data_type"),
    *("sample_rate", "channels", "coded_frame_size", "mp4_oti", "unc_type", "id", "role"),
    *("track_index", "format_track_index", "audio_track", "channel_numbers", "channel_range"),
    *("mp2ts_container", "mxf_container", "isobmff_container", "pid", "package_uid", "track_id"),
    *("numerator", "denominator"),
]
BODIES = st.sampled_from(
    [
        flow_bodies.video,
        flow_bodies.variable_rate_video,
        flow_bodies.audio,
        flow_bodies.image,
        flow_bodies.data,
        flow_bodies.multi,
        flow_bodies.from_profile,
    ]
)
# Negative values of these mean nothing, though the schema has no minimum for them.
NEVER_NEGATIVE = {"pid", "track_id", "profile", "level", "flags", "coded_frame_size", "mp4_oti"}
BYTES = {"pid", "profile", "level", "flags"}


def paths(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from paths(item, (*path, key))


def at(body: Any, path: Path_) -> Any:
    for key in path:
        body = body[key]
    return body


@st.composite
def mutated(draw: st.DrawFn) -> Body:
    body: Body = draw(BODIES)()
    for _ in range(draw(st.integers(1, 3))):
        change = draw(st.sampled_from(["set", "remove", "add"]))
        every = [path for path in paths(body) if path != ("profile_id",)]
        assume(every)
        *parent, last = draw(st.sampled_from(every))
        target = at(body, tuple(parent))
        if change == "remove":
            del target[last]
            continue
        if change == "add" and isinstance(target, dict):
            last = draw(st.sampled_from(KEYS))
        target[last] = deepcopy(draw(st.sampled_from(VALUES)))
    return body


def differs_deliberately(body: Body) -> bool:
    for path in paths(body):
        value = at(body, path)
        if path[-1] in NEVER_NEGATIVE and value == -1:
            return True
        if path[-1] in BYTES and value == 2**31 - 1 and value is not True:
            return True
    essence = body.get("essence_parameters")
    packing = essence.get("unc_parameters") if isinstance(essence, dict) else None
    if isinstance(packing, dict) and packing.get("unc_type") == "UYVY":
        return True
    if "profile_id" in body and any(key in body for key in ("format", "codec", "container")):
        return True
    technical = {"avg_bit_rate", "segment_duration", "container_mapping", "essence_parameters"}
    if "profile_id" in body and technical & body.keys():
        return True
    members = body.get("flow_collection")
    if not isinstance(members, list):
        return False
    ids = [item.get("id") for item in members if isinstance(item, dict)]
    return len(ids) != len(set(map(str, ids)))


@settings(max_examples=400, suppress_health_check=[HealthCheck.filter_too_much])
@given(body=mutated())
def test_schema_and_product_agree_about_mutated_bodies(
    schema: Draft202012Validator, body: Body
) -> None:
    assume(not differs_deliberately(body))
    assert is_accepted(body) == schema.is_valid(body)


def with_(build: Any, *path: str | int, value: Any) -> Body:
    body: Body = build()
    at(body, path[:-1])[path[-1]] = value
    return body


def without(build: Any, *path: str | int) -> Body:
    body: Body = build()
    del at(body, path[:-1])[path[-1]]
    return body


ESSENCE = "essence_parameters"

STRICTER = {
    "a whole number written as a float": with_(
        flow_bodies.video, ESSENCE, "frame_width", value=1920.0
    ),
    "an integer beyond GraphQL's Int": with_(flow_bodies.video, "avg_bit_rate", value=2**31),
    "a byte that is none": with_(flow_bodies.video, ESSENCE, "avc_parameters", "level", value=256),
    "a packet id beyond 13 bits": with_(
        flow_bodies.video, "container_mapping", "mp2ts_container", "pid", value=8_192
    ),
    "a negative track id": with_(
        flow_bodies.audio, "container_mapping", "mxf_container", "track_id", value=-1
    ),
    "a negative frame size": with_(
        flow_bodies.audio, ESSENCE, "codec_parameters", "coded_frame_size", value=-1
    ),
    "raw video of unknown depth": without(flow_bodies.raw_video, ESSENCE, "bit_depth"),
    "raw video of unknown packing": without(flow_bodies.raw_video, ESSENCE, "unc_parameters"),
    "chroma without subsampling": without(flow_bodies.raw_video, ESSENCE, "vert_chroma_subs"),
    "raw sound of unknown depth": without(flow_bodies.raw_audio, ESSENCE, "bit_depth"),
    "float samples of 24 bits": with_(flow_bodies.raw_audio, "codec", value="audio/x-raw-float"),
    "a flow that collects itself": with_(
        flow_bodies.multi, "flow_collection", 0, "id", value=FLOW_ID
    ),
    "a flow collected twice": with_(
        flow_bodies.multi, "flow_collection", value=[{"id": MEMBER_ID}, {"id": MEMBER_ID}]
    ),
    "a codec that no header can carry": with_(flow_bodies.video, "codec", value="video/é"),
    "a label of unlimited length": with_(flow_bodies.video, "label", value="x" * 1_025),
    "tags without limit": with_(
        flow_bodies.video, "tags", value={str(number): "" for number in range(65)}
    ),
    "a tag without a name": with_(flow_bodies.video, "tags", value={"": "x"}),
    "a codec beside a profile": with_(flow_bodies.from_profile, "codec", value="video/h264"),
}
MORE_LENIENT = {
    "an upper-case UUID": with_(flow_bodies.video, "id", value=FLOW_ID.upper()),
    "keys of the catalog, unread": with_(flow_bodies.video, "collected_by", value="anything"),
}


@pytest.mark.parametrize("difference", STRICTER)
def test_where_the_product_is_stricter_than_the_schema(
    schema: Draft202012Validator, difference: str
) -> None:
    assert schema.is_valid(STRICTER[difference])
    assert not is_accepted(STRICTER[difference])


@pytest.mark.parametrize("difference", MORE_LENIENT)
def test_where_the_product_is_more_lenient_than_the_schema(
    schema: Draft202012Validator, difference: str
) -> None:
    assert not schema.is_valid(MORE_LENIENT[difference])
    assert is_accepted(MORE_LENIENT[difference])
