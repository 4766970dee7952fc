"""Enums of the public API, and the specification's texts behind them."""

from __future__ import annotations

from enum import Enum

import strawberry

from tams_gql.model.events import EventType
from tams_gql.model.formats import ContentFormat, FlowStatus
from tams_gql.resolvers.filters import FlowSort, SourceSort


def _named(enum: type[Enum], name: str, description: str) -> None:
    strawberry.enum(enum, name=name, description=description)


_named(
    ContentFormat,
    "ContentFormat",
    "What kind of content a source or flow is. The URNs behind the names:"
    + "".join(f" {member.name} `{member.value}`" for member in ContentFormat),
)
_named(FlowStatus, "FlowStatus", "What is happening to a flow, as its ingesting client says.")
_named(
    EventType,
    "EventType",
    "What kind of change an event tells of. The specification's names:"
    + "".join(f" {member.name} `{member.value}`" for member in EventType),
)
_named(SourceSort, "SourceOrderField", "What sources can be ordered by.")
_named(FlowSort, "FlowOrderField", "What flows can be ordered by.")


@strawberry.enum(description="Which way a list is ordered.")
class OrderDirection(Enum):
    """Ascending or descending."""

    ASC = "asc"
    DESC = "desc"


@strawberry.enum(description="How the lines of a picture are scanned.")
class InterlaceMode(Enum):
    """The specification's ``interlace_mode``."""

    PROGRESSIVE = "progressive"
    INTERLACED_TFF = "interlaced_tff"
    INTERLACED_BFF = "interlaced_bff"
    INTERLACED_PSF = "interlaced_psf"


@strawberry.enum(description="The colour space of a picture.")
class Colorspace(Enum):
    """The specification's ``colorspace``."""

    BT601 = "BT601"
    BT709 = "BT709"
    BT2020 = "BT2020"
    BT2100 = "BT2100"


@strawberry.enum(description="The transfer characteristic of a picture.")
class TransferCharacteristic(Enum):
    """The specification's ``transfer_characteristic``."""

    SDR = "SDR"
    HLG = "HLG"
    PQ = "PQ"


@strawberry.enum(description="The components a picture is made of.")
class ComponentType(Enum):
    """The specification's ``component_type``."""

    YCBCR = "YCbCr"
    RGB = "RGB"


@strawberry.enum(description="How the channels of uncompressed sound are laid out.")
class UncAudioType(Enum):
    """The specification's audio ``unc_type``."""

    INTERLEAVED = "interleaved"
    PLANAR = "planar"
    PAIRS = "pairs"


@strawberry.enum(description="The kind of expected failure.")
class ErrorCode(Enum):
    """The codes of ``tams_gql.model.errors``."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    FORBIDDEN = "FORBIDDEN"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    READ_ONLY = "READ_ONLY"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    UNAVAILABLE = "UNAVAILABLE"
