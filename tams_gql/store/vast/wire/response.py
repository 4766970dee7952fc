"""The answer to a query: frames of Arrow messages, one column after the other.

A frame is a u32 stream id, the u64 cursor from which to go on, and one Arrow message. A column is
a schema, its batches and an end of stream. When all columns have ended a portion is complete, and
another may follow. Anything that ends earlier was cut off.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pyarrow as pa

EXHAUSTED = (1 << 48) - 1  # the cursor of a query that has no more rows

_KEEP_ALIVE, _COMPLETED, _FAILED = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_FRAME = struct.Struct("<IQ")


class Cut(Exception):
    """The answer ended before its time."""


class Unreadable(Exception):
    """The answer is not what the request asked for, or the cluster gave up on it."""


@dataclass(slots=True)
class Page:
    """What one answer brought. ``columns`` hold the batches of each column, in order."""

    columns: list[list[pa.Array]]
    rows: int = 0
    cursor: int = 0
    portions: int = 0
    size: int = 0
    """Bytes of the answer."""


@dataclass(slots=True)
class _Column:
    """A stream of batches, usually of one column."""

    schema: pa.Schema
    batches: list[pa.RecordBatch] = field(default_factory=list)


def parse_page(body: bytes, fields: Sequence[pa.Field]) -> Page:
    """Read a whole answer to a query for ``fields``; with none, only rows are counted.

    Raises ``Cut`` or ``Unreadable``.
    """
    parser = _Parser(body, fields)
    parser.run()
    return parser.page


class _Parser:
    def __init__(self, body: bytes, fields: Sequence[pa.Field]) -> None:
        self._body = body
        self._reader = pa.BufferReader(body)
        self._fields = fields
        self._stream: _Column | None = None
        self._portion: list[list[pa.Array]] = []
        self._portion_rows: int | None = None
        self.page = Page([[] for _ in fields], size=len(body))

    def run(self) -> None:
        at, size = 0, len(self._body)
        while at < size:
            if size - at < 4:
                raise Cut
            stream = int.from_bytes(self._body[at : at + 4], "little")
            if stream == _KEEP_ALIVE:
                at += 4
            elif stream == _COMPLETED:
                break
            elif stream == _FAILED:
                raise Unreadable(f"the query failed with code {self._failure(at + 4)}")
            else:
                at = self._frame(at)
        if self._stream is not None or self._portion or not self.page.portions:
            raise Cut

    def _failure(self, at: int) -> int:
        return int.from_bytes(self._body[at : at + 8], "little")

    def _frame(self, at: int) -> int:
        """Take one frame; where the next one begins."""
        if len(self._body) - at < _FRAME.size + 8:
            raise Cut
        stream, cursor = _FRAME.unpack_from(self._body, at)
        if stream:
            raise Unreadable(f"the answer has a stream {stream}, asked was for one")
        at += _FRAME.size
        if self._stream is not None and self._body[at : at + 8] == _END_OF_STREAM:
            self._ended(self._stream, cursor)
            return at + 8
        self._reader.seek(at)
        try:
            message = pa.ipc.read_message(self._reader)
        except (EOFError, OSError, pa.ArrowInvalid) as error:
            raise Cut from error
        try:
            self._message(message)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise Unreadable("a part of the answer makes no sense") from error
        return int(self._reader.tell())

    def _message(self, message: pa.ipc.Message) -> None:
        if self._stream is None:
            self._stream = _Column(self._schema(message))
        else:
            batch = pa.ipc.read_record_batch(message, self._stream.schema)
            batch.validate()
            self._stream.batches.append(batch)

    def _schema(self, message: pa.ipc.Message) -> pa.Schema:
        schema = _schema_of(message.metadata.to_pybytes())
        expected = self._fields[len(self._portion) : len(self._portion) + len(schema)]
        if [f.type for f in expected] != schema.types:
            asked = ", ".join(f"{f.name} {f.type}" for f in expected)
            raise Unreadable(f"asked was for {asked or 'no column'}, the answer has {schema.types}")
        return schema

    def _ended(self, stream: _Column, cursor: int) -> None:
        rows = sum(batch.num_rows for batch in stream.batches)
        if self._portion_rows not in (None, rows):
            raise Unreadable("the columns of the answer differ in length")
        self._stream, self._portion_rows = None, rows
        for index in range(len(stream.schema)):
            self._portion.append([batch.column(index) for batch in stream.batches])
        if len(self._portion) < len(self._fields):
            return
        for column, batches in zip(self.page.columns, self._portion, strict=True):
            column.extend(batches)
        self.page.rows += rows
        self.page.cursor = cursor
        self.page.portions += 1
        self._portion, self._portion_rows = [], None


@lru_cache(maxsize=512)
def _schema_of(metadata: bytes) -> pa.Schema:
    """The schema in a message; answers for one column always hold the same one."""
    prefix = struct.pack("<II", 0xFFFFFFFF, len(metadata))
    schema = pa.ipc.read_schema(pa.py_buffer(prefix + metadata))
    if not all(isinstance(name, str) for name in schema.names):
        raise ValueError("a column has no name")  # one that is not UTF-8 is a ValueError by itself
    return schema
