"""The body of a query: which columns to send and the filter, in Arrow's computeir format."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa

from tams_gql.store.vast.layout import ROW_ID, Physical
from tams_gql.store.vast.wire.domains import Filter
from tams_gql.store.vast.wire.encoding import encode_filter

MAX_REQUEST_BYTES = int(0.9 * 5 * 2**20)  # what the cluster takes, and what the SDK leaves free


def query_body(table: Physical, columns: tuple[str, ...], wanted: Filter) -> bytes:
    """The request for ``columns`` (which may end in ``$row_id``) of the rows that meet a filter."""
    used = columns + tuple(name for name in wanted.columns if name not in columns)
    positions = {name: position for position, name in enumerate(used)}
    head = _head(table, used, len(columns))
    return head + encode_filter([(d, positions[d.column]) for d in wanted.pushed])


def fields_of(table: Physical, columns: Sequence[str]) -> list[pa.Field]:
    """The fields of columns, the row id among them."""
    return [
        pa.field(ROW_ID, table.row_id) if name == ROW_ID else table.schema.field(name)
        for name in columns
    ]


@lru_cache(maxsize=1024)
def _head(table: Physical, used: tuple[str, ...], projected: int) -> bytes:
    """Everything before the filter: the first ``projected`` of the used columns are sent.

    The same for every query of these columns. The SDK's modules are imported here and not above,
    as that takes a second that an installation with another store need not spend.
    """
    import flatbuffers
    from vastdb.vast_flatbuf.org.apache.arrow.computeir.flatbuf import (
        Relation,
        RelationImpl,
        Source,
    )

    builder = flatbuffers.Builder(1024)
    # A builder writes from the end: this stands where the filter begins.
    builder.Prep(8, 0)
    builder.PrependUint64(0)
    place = builder.Offset()
    name = builder.CreateString("")
    schema = _schema(builder, fields_of(table, used))
    projection = _projection(builder, projected)
    Source.Start(builder)
    Source.AddName(builder, name)
    Source.AddSchema(builder, schema)
    Source.AddFilter(builder, place)
    Source.AddProjection(builder, projection)
    source = Source.End(builder)
    Relation.Start(builder)
    Relation.AddImplType(builder, RelationImpl.RelationImpl.Source)
    Relation.AddImpl(builder, source)
    builder.Finish(Relation.End(builder))
    return bytes(builder.Output())[:-8]


def _schema(builder: Any, given: Sequence[pa.Field]) -> int:
    from vastdb._internal import build_field
    from vastdb.vast_flatbuf.org.apache.arrow.flatbuf import Schema

    fields = [build_field(builder, field) for field in given]
    Schema.StartFieldsVector(builder, len(fields))
    for field in reversed(fields):
        builder.PrependUOffsetTRelative(field)
    vector = builder.EndVector()
    Schema.Start(builder)
    Schema.AddFields(builder, vector)
    return int(Schema.End(builder))


def _projection(builder: Any, count: int) -> int:
    from vastdb.vast_flatbuf.org.apache.arrow.computeir.flatbuf import FieldIndex, Source

    indices = []
    for position in range(count):
        FieldIndex.Start(builder)
        FieldIndex.AddPosition(builder, position)
        indices.append(FieldIndex.End(builder))
    Source.StartProjectionVector(builder, count)
    for index in reversed(indices):
        builder.PrependUOffsetTRelative(index)
    return int(builder.EndVector())
