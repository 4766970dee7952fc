"""Segments to register, and the URLs that may come with them."""

from __future__ import annotations

import json

import pytest

from tams_gql.model.errors import BadInput
from tams_gql.model.media_object import ExternalUrl
from tams_gql.model.segment import NewSegment, parse_new_segment
from tams_gql.model.time import NS, TimeRange
from tams_gql.model.url import parse_http_url
from tests.spec import NO_SPEC, spec_dir

LEAST: dict[str, object] = {"object_id": "tape-1", "timerange": "[20:0_21:0)"}


def test_the_least_a_segment_has() -> None:
    assert parse_new_segment(LEAST, field="") == NewSegment(
        object_id="tape-1",
        timerange=TimeRange.between(20 * NS, 21 * NS),
        ts_offset_ns=0,
        ts_offset_text=None,
        object_timerange=None,
        last_duration_ns=None,
        sample_offset=None,
        sample_count=None,
        key_frame_count=None,
        init_object_id=None,
        get_urls=(),
        tags={},
    )


def test_everything_a_segment_can_have() -> None:
    segment = parse_new_segment(
        {
            "object_id": "tape-1",
            "timerange": "[20:0_21:0]",
            "ts_offset": "-100:0",
            "object_timerange": "[120:0_130:0)",
            "last_duration": "0:40000000",
            "sample_offset": 0,
            "sample_count": 25,
            "key_frame_count": 2**31 - 1,
            "init_object_id": "head-1",
            "get_urls": [
                {"url": "https://media.example/tape-1", "label": "archive"},
                {"url": "HTTP://[::1]:8080/tape-1?x=%20", "label": "edge", "presigned": True},
            ],
            "tags": {"scene": ["1", "2"], "take": "3"},
            "created": "2024-01-01T00:00:00Z",
        },
        field="segments.0",
    )
    assert segment == NewSegment(
        object_id="tape-1",
        timerange=TimeRange.between(20 * NS, 21 * NS + 1),
        ts_offset_ns=-100 * NS,
        ts_offset_text="-100:0",
        object_timerange=TimeRange.between(120 * NS, 130 * NS),
        last_duration_ns=40_000_000,
        sample_offset=0,
        sample_count=25,
        key_frame_count=2**31 - 1,
        init_object_id="head-1",
        get_urls=(
            ExternalUrl("https://media.example/tape-1", "archive"),
            ExternalUrl("HTTP://[::1]:8080/tape-1?x=%20", "edge"),
        ),
        tags={"scene": ["1", "2"], "take": "3"},
    )
    assert segment.timerange.text == "[20:0_21:0]"


def test_null_counts_as_left_out() -> None:
    keys = (
        "ts_offset object_timerange last_duration sample_offset sample_count key_frame_count "
        "init_object_id get_urls tags"
    )
    nulls: dict[str, object] = dict.fromkeys(keys.split())
    assert parse_new_segment({**LEAST, **nulls}, field="") == parse_new_segment(LEAST, field="")


def test_a_segment_can_be_an_instant() -> None:
    segment = parse_new_segment({**LEAST, "timerange": "[5:0]"}, field="")
    assert segment.timerange.duration_ns == 1


URL = "https://media.example/a"


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"object_id": None}, "object_id", "is required"),
        ({"timerange": None}, "timerange", "is required"),
        ({"object_id": ""}, "object_id", "1 to 256 characters"),
        ({"object_id": 7}, "object_id", "7 is not allowed"),
        ({"object_id": ".."}, "object_id", "neither '.' nor '..'"),
        ({"timerange": 7}, "timerange", "a time range is"),
        ({"timerange": "20:0-21:0"}, "timerange", "a time range is"),
        ({"timerange": "_"}, "timerange", "with a start and an end"),
        ({"timerange": "[20:0_"}, "timerange", "with a start and an end"),
        ({"timerange": "_21:0)"}, "timerange", "with a start and an end"),
        ({"timerange": "()"}, "timerange", "not empty"),
        ({"timerange": ""}, "timerange", "not empty"),
        ({"timerange": "[20:0_20:0)"}, "timerange", "not empty"),
        ({"timerange": "(20:0_21:0)"}, "timerange", "the start must be inclusive"),
        ({"timerange": "[0:0_9999999999:0)"}, "timerange", "outside ±292 years"),
        ({"ts_offset": 5}, "ts_offset", "a timestamp is"),
        ({"ts_offset": "5"}, "ts_offset", "a timestamp is"),
        ({"ts_offset": "-9223372036:0"}, "ts_offset", "must stay within ±292 years"),
        ({"object_timerange": "[1:0_"}, "object_timerange", "with a start and an end"),
        ({"object_timerange": "()"}, "object_timerange", "not empty"),
        ({"last_duration": "-0:1"}, "last_duration", "at least 0:0"),
        ({"last_duration": ""}, "last_duration", "a timestamp is"),
        ({"sample_offset": -1}, "sample_offset", "a whole number from 0 to 2147483647"),
        ({"sample_count": 1.0}, "sample_count", "1.0 is not allowed"),
        ({"sample_count": "5"}, "sample_count", "'5' is not allowed"),
        ({"key_frame_count": True}, "key_frame_count", "True is not allowed"),
        ({"key_frame_count": 2**31}, "key_frame_count", "a whole number from 0 to 2147483647"),
        ({"init_object_id": "tape-1"}, "init_object_id", "its own initialisation segment"),
        ({"init_object_id": "a\n"}, "init_object_id", "without control characters"),
        ({"get_urls": {}}, "get_urls", "a list of objects"),
        ({"get_urls": ["x"]}, "get_urls.0", "an object with url and label"),
        ({"get_urls": [{"label": "a"}]}, "get_urls.0.url", "is required"),
        ({"get_urls": [{"url": URL}]}, "get_urls.0.label", "is required"),
        ({"get_urls": [{"url": URL, "label": ""}]}, "get_urls.0.label", "1 to 256 characters"),
        (
            {"get_urls": [{"url": URL, "label": "a"}, {"url": URL + "2", "label": "a"}]},
            "get_urls.1.label",
            "each label once",
        ),
        (
            {"get_urls": [{"url": "ftp://media.example/a", "label": "a"}]},
            "get_urls.0.url",
            "an absolute http or https URL",
        ),
        (
            {"get_urls": [{"url": URL, "label": str(n)} for n in range(33)]},
            "get_urls",
            "33 URLs; at most 32",
        ),
        ({"tags": {"a": 1}}, "tags.a", "a string or a list of strings"),
    ],
)
def test_a_bad_segment_names_the_field(change: dict[str, object], field: str, said: str) -> None:
    body = {key: item for key, item in {**LEAST, **change}.items() if item is not None}
    for prefix in ("", "segments.7"):
        with pytest.raises(BadInput) as caught:
            parse_new_segment(body, field=prefix)
        path = f"{prefix}.{field}" if prefix else field
        assert caught.value.field == path
        assert caught.value.message.startswith(f"{path}: ")
        assert said in caught.value.message


@pytest.mark.parametrize("value", [None, [], "x", 5])
def test_only_an_object_is_a_segment(value: object) -> None:
    with pytest.raises(BadInput, match="a JSON object") as caught:
        parse_new_segment(value, field="segments.7")  # type: ignore[arg-type]
    assert caught.value.field == "segments.7"


@pytest.mark.parametrize(
    "url",
    [
        "media.example/a",
        "//media.example/a",
        "https:///a",
        "https://",
        "https://:80/a",
        "file:///etc/passwd",
        "https://media.example:99999/a",
        "https://media.example:0/a",
        "https://[::1/a",
        "https://media.example/a b",
        "https://media.example/é",
        "https://media.example/a\r\nx: y",
        "https://media.example/" + "a" * 4_096,
    ],
)
def test_other_texts_are_no_http_url(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_http_url(url, field="url")
    assert caught.value.field == "url"


def test_the_examples_of_the_specification_are_segments() -> None:
    spec = spec_dir()
    if spec is None:
        pytest.skip(NO_SPEC)
    bodies = [json.loads((spec / "examples" / "flow-segment-post.json").read_text())]
    bodies += json.loads(
        (spec / "examples" / "flow-segments-get-200-object-timerange.json").read_text()
    )
    for index, body in enumerate(bodies):
        # Answers of the service carry URLs without labels, which only it can make.
        sent = {key: item for key, item in body.items() if key != "get_urls"}
        segment = parse_new_segment(sent, field=f"segments.{index}")
        assert segment.object_id == body["object_id"]
        assert segment.timerange.text == body["timerange"]
        assert segment.ts_offset_text == body.get("ts_offset")
