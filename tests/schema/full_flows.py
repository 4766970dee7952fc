"""Flow inputs in which everything is given that their format allows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from graphql import (
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    build_schema,
)

from tams_gql.schema import print_sdl
from tests.gql import Data

INIT_VIDEO: Data = {
    "container": "video/mp4",
    "essenceParameters": {"frameWidth": 1, "frameHeight": 1, "vfr": True, "initSegments": True},
}
"""Of a flow whose media objects need an initialisation object."""

PACKAGE = "urn:uuid:5d0f8a37-02ac-4d0e-8cfc-0f6f7c3d9b1a"

MAPPING: Data = {
    "trackIndex": 3,
    "formatTrackIndex": 1,
    "audioTrack": {"channelNumbers": [1, 0], "channelRange": "0_1"},
    "mp2tsContainer": {"pid": 256},
    "mxfContainer": {"packageUid": PACKAGE, "trackId": 2},
    "isobmffContainer": {"trackId": 7},
}

_VIDEO: Data = {
    "frameWidth": 1920,
    "frameHeight": 1080,
    "bitDepth": 10,
    "interlaceMode": "INTERLACED_TFF",
    "colorspace": "BT2100",
    "transferCharacteristic": "HLG",
    "aspectRatio": {"numerator": 16, "denominator": 9},
    "pixelAspectRatio": {"numerator": 1, "denominator": 1},
    "componentType": "YCBCR",
    "horizChromaSubs": 2,
    "vertChromaSubs": 1,
    "initSegments": False,
}

_AUDIO: Data = {"sampleRate": 48000, "channels": 2, "bitDepth": 24, "initSegments": True}

ESSENCES: Mapping[str, tuple[str, str | None, Data]] = {
    "coded video": (
        "video",
        "video/h264",
        {
            **_VIDEO,
            "frameRate": {"numerator": 30000, "denominator": 1001},
            "avcParameters": {"profile": 122, "level": 51, "flags": 0},
        },
    ),
    "raw video": (
        "video",
        "video/raw",
        {**_VIDEO, "frameRate": {"numerator": 50}, "uncParameters": {"uncType": "v210"}},
    ),
    "variable frame rate": (
        "video",
        "video/h265",
        {"frameWidth": 640, "frameHeight": 480, "vfr": True},
    ),
    "coded sound": (
        "audio",
        "audio/aac",
        {**_AUDIO, "codecParameters": {"codedFrameSize": 1024, "mp4Oti": 2}},
    ),
    "raw sound": (
        "audio",
        "audio/x-raw-int",
        {**_AUDIO, "uncParameters": {"uncType": "PAIRS"}},
    ),
    "stills": (
        "image",
        "image/jpeg",
        {
            "frameWidth": 320,
            "frameHeight": 180,
            "aspectRatio": {"numerator": 4, "denominator": 3},
        },
    ),
    "subtitles": (
        "data",
        "application/ttml+xml",
        {"dataType": "urn:x-tams:data:subtitle", "initSegments": True},
    ),
    "multiplex": ("multi", None, {"initSegments": True}),
    "multiplex with a codec": ("multi", "video/mp2t", {"initSegments": False}),
}
"""For each case the format, the codec and the essence parameters."""


@cache
def schema() -> GraphQLSchema:
    """The schema as clients know it."""
    return build_schema(print_sdl())


def every_field(type_name: str) -> str:
    """A selection of all fields of a type that is a tree, and of all types below it."""
    parts = []
    for name, field in _fields(type_name).items():
        inner = _named(field)
        parts.append(f"{name} {every_field(inner)}" if _is_object(inner) else name)
    return "{ " + " ".join(parts) + " }"


def completed(type_name: str, given: Data | None) -> Data | None:
    """What ``every_field`` answers when ``given`` was put: null for what was left out."""
    if given is None:
        return None
    answer: Data = {}
    for name, field in _fields(type_name).items():
        inner, value = _named(field), given.get(name)
        answer[name] = completed(inner, value) if _is_object(inner) else value
    if type_name == "Rational" and answer["denominator"] is None:
        answer["denominator"] = 1
    return answer


def input_fields(type_name: str) -> set[str]:
    """The paths of all fields of an input type that is a tree."""
    kind = schema().type_map[type_name]
    assert isinstance(kind, GraphQLInputObjectType)
    paths = set()
    for name, field in kind.fields.items():
        inner = _named(field.type)
        if isinstance(schema().type_map[inner], GraphQLInputObjectType):
            paths |= {f"{name}.{path}" for path in input_fields(inner)}
        else:
            paths.add(name)
    return paths


def given_fields(given: Data) -> set[str]:
    """The paths of all values in an input."""
    paths = set()
    for name, value in given.items():
        if isinstance(value, dict):
            paths |= {f"{name}.{path}" for path in given_fields(value)}
        else:
            paths.add(name)
    return paths


def _fields(type_name: str) -> Mapping[str, GraphQLType]:
    kind = schema().type_map[type_name]
    assert isinstance(kind, GraphQLObjectType)
    return {name: field.type for name, field in kind.fields.items()}


def _is_object(type_name: str) -> bool:
    return isinstance(schema().type_map[type_name], GraphQLObjectType)


def _named(kind: GraphQLType) -> str:
    while isinstance(kind, GraphQLNonNull | GraphQLList):
        kind = kind.of_type
    return str(kind)
