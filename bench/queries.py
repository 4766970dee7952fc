"""The four queries, each with the requests that ask them with different arguments.

A request has two forms: variables for the GraphQL server, and the same values as the minimal
program takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson

from bench.catalog import GENRES, SEGMENT_NS, SEGMENTS_PER_FLOW, Shape

_WINDOWED = 50
_VARIATIONS = 16
_NS = 1_000_000_000

SOURCES_TO_OBJECTS = """
query Q1($window: TimeRange!) {
  sources(first: 20) {
    nodes {
      id
      label
      format
      flows(first: 3) {
        nodes {
          id
          label
          format
          codec
          segments(window: $window, first: 50) {
            nodes {
              id
              objectId
              timerange
              tsOffset
              sampleCount
              keyFrameCount
              created
              object { id size contentType timerange created }
            }
          }
        }
      }
    }
  }
}
"""

FLOW_OF_SEGMENTS = """
query Q2($id: ID!) {
  flow(id: $id) {
    id
    segments(first: 1000) {
      nodes {
        id
        objectId
        timerange
        tsOffset
        lastDuration
        sampleOffset
        sampleCount
        keyFrameCount
        created
        tags { name values }
      }
    }
  }
}
"""

SOURCE_BY_ID = """
query Q3($id: ID!) {
  source(id: $id) {
    id
    format
    label
    description
    tags { name values }
    created
    updated
    version
  }
}
"""

FLOWS_BY_TAG = """
query Q4($genre: String!) {
  flows(filter: {format: [VIDEO], tags: [{name: "genre", in: [$genre]}]}, first: 100) {
    nodes {
      id
      format
      label
      codec
      container
      maxBitRate
      created
      metadataUpdated
      tags { name values }
      ... on VideoFlow {
        essenceParameters { frameWidth frameHeight frameRate { numerator denominator } }
      }
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request in both forms."""

    variables: dict[str, Any]
    plain: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A query and its requests."""

    name: str
    about: str
    text: str
    requests: tuple[Request, ...]

    def graphql(self, request: Request) -> bytes:
        """The body that asks the GraphQL server."""
        return orjson.dumps({"query": self.text, "variables": request.variables})

    def plain(self, request: Request) -> bytes:
        """The body that asks the minimal program."""
        return orjson.dumps(request.plain)


def queries(shape: Shape) -> list[Query]:
    """The queries on a catalog; the arguments are the same in every run."""
    random = Random(shape.seed)

    def some(count: int, wanted: int) -> list[int]:
        return random.sample(range(count), min(count, wanted))

    def made(about: str, text: str, requests: Callable[[], Iterator[Request]]) -> Query:
        name = text.split("(")[0].split()[-1]
        return Query(name, about, text, tuple(requests()))

    def windows() -> Iterator[Request]:
        for nth in some(max(1, shape.segments_of(0) - _WINDOWED), _VARIATIONS):
            start_ns = nth * SEGMENT_NS
            text = f"[{start_ns // _NS}:{start_ns % _NS}_"
            yield Request({"window": text}, {"start_ns": start_ns})

    def flows() -> Iterator[Request]:
        for flow in some(max(1, shape.segments // SEGMENTS_PER_FLOW), _VARIATIONS):
            flow_id = shape.id("flow", flow)
            yield Request({"id": flow_id}, {"id": flow_id})

    def sources() -> Iterator[Request]:
        for source in some(shape.sources, 4 * _VARIATIONS):
            source_id = shape.id("source", source)
            yield Request({"id": source_id}, {"id": source_id})

    def genres() -> Iterator[Request]:
        for genre in GENRES:
            yield Request({"genre": genre}, {"genre": genre})

    return [
        made("20 sources, their flows, 50 segments each with objects", SOURCES_TO_OBJECTS, windows),
        made("1,000 segments of a flow", FLOW_OF_SEGMENTS, flows),
        made("a source by its id", SOURCE_BY_ID, sources),
        made("100 flows by format and tag", FLOWS_BY_TAG, genres),
    ]
