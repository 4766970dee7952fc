"""Writes the generated catalog into a VAST database, in bulk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from bench.catalog import SEGMENT_NS, Place, Shape, is_repeat
from bench.rows import counters_row, flow_record, object_row, segment_row, source_row
from tams_gql.settings import Settings
from tams_gql.store.tables import FLOW_COUNTERS, FLOWS, OBJECTS, SEGMENTS, SOURCES, Table
from tams_gql.store.vast.layout import USES, physical_of, rows_to_batch
from tams_gql.store.vast.uses import NOWHERE, Added, with_users
from tams_gql.store.vast.wire.client import VastClient
from tams_gql.store_choice import migrate, vast_config

_ROWS_AT_ONCE = 5_000  # well below what fits into one request


def fill(settings: Settings, shape: Shape) -> None:
    """Make the catalog in its schema, which must be empty."""
    migrate(settings)
    with closing(VastClient(vast_config(settings))) as client:
        _insert(client, SOURCES, (source_row(shape, number) for number in range(shape.sources)))
        flows = ((*flow_record(shape, n), *counters_row(shape, n)[1:]) for n in range(shape.flows))
        _insert(client, FLOWS, flows, (*FLOWS.columns, *FLOW_COUNTERS.columns[1:]))
        segments = (
            segment_row(shape, shape.id("flow", flow), Place(flow, nth))
            for flow in range(shape.filled_flows)
            for nth in range(shape.segments_of(flow))
        )
        _insert(client, SEGMENTS, segments)
        storage_id = shape.id("storage")
        objects = (
            (*object_row(shape, place, storage_id), uses_of(shape, place))
            for place in shape.objects()
        )
        _insert(client, OBJECTS, objects, (*OBJECTS.columns, USES))


def uses_of(shape: Shape, place: Place) -> str | None:
    """What an object says of the segments that use it: its own, and a repeat right after that."""
    repeated = place.nth + 1 < shape.segments_of(place.flow) and is_repeat(place.nth + 1)
    first = place.nth * SEGMENT_NS
    added = Added({shape.id("flow", place.flow): (first, first + repeated * SEGMENT_NS)})
    return with_users(NOWHERE, added)


def _insert(
    client: VastClient,
    table: Table,
    rows: Iterable[Sequence[Any]],
    columns: tuple[str, ...] = (),
) -> None:
    physical = physical_of(table)
    waiting = iter(rows)
    while some := [tuple(row) for row in islice(waiting, _ROWS_AT_ONCE)]:
        tx = client.begin()
        tx.insert(physical, rows_to_batch(physical, columns or table.columns, some))
        tx.commit()
