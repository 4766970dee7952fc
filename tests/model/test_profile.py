"""Profiles, and flows made from them."""

from __future__ import annotations

import pytest

from tams_gql.model.errors import BadInput
from tams_gql.model.flow import (
    FlowBody,
    ProfileFlowBody,
    VideoFlow,
    apply_profile,
    parse_flow,
    parse_flow_put,
    parse_profile_flow,
    patch_flow,
)
from tams_gql.model.profile import parse_profile
from tams_gql.model.technical import VideoTechnical
from tests.model import flow_bodies
from tests.model.flow_bodies import PROFILE_ID, Body


def test_a_flow_can_name_a_profile_instead_of_its_essence() -> None:
    flow = parse_flow_put({**flow_bodies.from_profile(), "created": "2024-01-01T00:00:00Z"})
    assert isinstance(flow, ProfileFlowBody)
    assert flow.profile_id == PROFILE_ID
    assert flow.to_json() == flow_bodies.from_profile()


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_profile_id_counts_as_none(empty: str | None) -> None:
    flow = parse_flow_put({**flow_bodies.video(), "profile_id": empty})
    assert isinstance(flow, VideoFlow)
    assert flow.to_json() == flow_bodies.video()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "urn:x-nmos:format:video"),
        ("codec", "video/h264"),
        ("container", "video/mp2t"),
        ("avg_bit_rate", 1),
        ("segment_duration", {"numerator": 1}),
        ("container_mapping", {}),
        ("essence_parameters", {}),
    ],
)
def test_what_a_profile_can_hold_does_not_stand_beside_its_id(key: str, value: object) -> None:
    body = {**flow_bodies.from_profile(), key: value}
    for parse in (parse_flow, parse_profile_flow, parse_flow_put):
        with pytest.raises(BadInput) as caught:
            parse(body, field="input")
        assert caught.value.field == "input.profile_id"
        assert f"cannot stand beside {key}: " in caught.value.message


def test_where_only_essence_is_taken_a_profile_is_refused() -> None:
    with pytest.raises(BadInput, match="must describe its essence") as caught:
        parse_flow(flow_bodies.from_profile())
    assert caught.value.field == "profile_id"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"profile_id": "x"}, "profile_id"),
        ({"label": 5}, "label"),
        ({"tags": {"a": 5}}, "tags.a"),
        ({"flow_collection": [{"id": flow_bodies.FLOW_ID}]}, "flow_collection.0.id"),
    ],
)
def test_a_bad_flow_with_a_profile_names_the_field(change: Body, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_flow_put({**flow_bodies.from_profile(), **change})
    assert caught.value.field == field


def test_a_profile_round_trips_without_what_the_catalog_manages() -> None:
    profile = parse_profile({**flow_bodies.profile(), "created": "2024-01-01T00:00:00Z"})
    assert isinstance(profile.flow_metadata, VideoTechnical)
    assert profile.to_json() == flow_bodies.profile()


def test_a_profile_fills_in_the_technical_part_and_nothing_else() -> None:
    body = flow_bodies.profile()
    metadata = body["flow_metadata"]
    metadata |= {"label": "not the flow's", "read_only": True, "created": "x", "x_lens": "50 mm"}
    asked = parse_profile_flow(flow_bodies.from_profile())
    flow = apply_profile(asked, parse_profile(body).flow_metadata)
    assert isinstance(flow, VideoFlow)
    technical = {**flow_bodies.profile()["flow_metadata"], "x_lens": "50 mm"}
    assert flow.to_json() == {**technical, **flow_bodies.from_profile()}
    assert flow.profile_id == PROFILE_ID


def test_a_flow_made_from_a_profile_can_be_patched() -> None:
    asked = parse_profile_flow(flow_bodies.from_profile())
    made: FlowBody = apply_profile(asked, parse_profile(flow_bodies.profile()).flow_metadata)
    patched = patch_flow(made.to_json(), {"label": "Camera 3"})
    assert patched.to_json() == {**made.to_json(), "label": "Camera 3"}


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"id": None}, "id", "leave the key out"),
        ({"id": "x"}, "id", "a UUID"),
        ({"label": 5}, "label", "a string"),
        ({"tags": {"a": 5}}, "tags.a", "a string or a list of strings"),
        ({"flow_metadata": None}, "flow_metadata", "a JSON object"),
        ({"flow_metadata": []}, "flow_metadata", "a JSON object"),
        ({"flow_metadata": {}}, "flow_metadata.format", "is required"),
        (
            {"flow_metadata": {"format": "urn:x-nmos:format:multi"}},
            "flow_metadata.format",
            "a profile describes a single essence",
        ),
        (
            {"flow_metadata": {**flow_bodies.profile()["flow_metadata"], "codec": "video/raw"}},
            "flow_metadata.essence_parameters.unc_parameters",
            "required for video/raw",
        ),
        (
            {"flow_metadata": {**flow_bodies.profile()["flow_metadata"], "avg_bit_rate": -1}},
            "flow_metadata.avg_bit_rate",
            "greater than or equal to 0",
        ),
    ],
)
def test_a_bad_profile_names_the_field(change: Body, field: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_profile({**flow_bodies.profile(), **change})
    assert caught.value.field == field
    assert said in caught.value.message


def test_a_profile_needs_its_technical_part() -> None:
    body = flow_bodies.profile()
    del body["flow_metadata"]
    with pytest.raises(BadInput, match="is required") as caught:
        parse_profile(body)
    assert caught.value.field == "flow_metadata"
