"""Writes the generated catalog into the file that the server opens."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import orjson

from bench.catalog import Place, Shape, created_us
from bench.rows import counters_row, flow_record, object_row, segment_row, source_row
from tams_gql.settings import Settings
from tams_gql.store.embedded import migrate, tags
from tams_gql.store.embedded.connection import connect
from tams_gql.store.tables import (
    FLOW_COUNTERS,
    FLOWS,
    OBJECTS,
    SEGMENTS,
    SERVICE,
    SOURCES,
    STORAGE_BACKENDS,
    Table,
)

VERSION = 1
"""Raise it when the generator writes other rows for the same seed."""

_MARK = "bench.json"
_DRAFT = "bench-draft"
_BACKEND_LABEL = "local"

Say = Callable[[str], None]


class WrongCatalog(Exception):
    """The directory does not hold the generated catalog that is asked for."""


def generate(data_dir: Path, shape: Shape, say: Say) -> None:
    """Write the catalog, unless it is there already. Raises ``WrongCatalog``.

    The file appears when it is complete; a catalog that was not generated is never replaced.
    """
    settings = Settings(data_dir=data_dir)
    mark, wanted = data_dir / _MARK, _mark(shape)
    if mark.exists() and orjson.loads(mark.read_bytes()) == wanted and _is_there(settings):
        say(f"{data_dir} holds the catalog already")
        return
    if _is_there(settings) and not mark.exists():
        raise WrongCatalog(f"{data_dir} holds a catalog that was not generated; choose another")
    data_dir.mkdir(parents=True, exist_ok=True)
    draft = data_dir / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    _write(draft / "catalog.sqlite3", shape, say)
    mark.write_bytes(orjson.dumps({}))  # ours, but not complete
    for suffix in ("", "-wal", "-shm"):
        settings.catalog_file.with_name(settings.catalog_file.name + suffix).unlink(missing_ok=True)
    (draft / "catalog.sqlite3").replace(settings.catalog_file)
    shutil.rmtree(draft)
    mark.write_bytes(orjson.dumps(wanted))


def shape_in(data_dir: Path) -> Shape:
    """The shape of the generated catalog in a directory. Raises ``WrongCatalog``."""
    mark = data_dir / _MARK
    found = orjson.loads(mark.read_bytes()) if mark.exists() else {}
    command = f"python -m bench generate --segments 100000 --data-dir {data_dir}"
    if not found:
        raise WrongCatalog(f"{data_dir} holds no generated catalog; make one with: {command}")
    shape = Shape(found["segments"], found["seed"])
    if found != _mark(shape):
        command = command.replace("100000", str(shape.segments))
        raise WrongCatalog(f"{data_dir} was generated for another version; repeat: {command}")
    return shape


def _is_there(settings: Settings) -> bool:
    return settings.catalog_file.exists()


def _mark(shape: Shape) -> dict[str, Any]:
    """What the rows depend on: the generator, its arguments and the schema."""
    schema = hashlib.sha256()
    folder = resources.files("tams_gql.store.embedded").joinpath("migrations")
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            schema.update(file.read_bytes())
    return {
        "version": VERSION,
        "seed": shape.seed,
        "segments": shape.segments,
        "schema": schema.hexdigest(),
    }


def _write(path: Path, shape: Shape, say: Say) -> None:
    path.parent.mkdir(parents=True)
    migrate(path)
    with closing(connect(path, write=True)) as connection:
        # Nothing has to survive a crash: the file is thrown away then.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1048576")
        connection.execute("BEGIN")
        storage_id = _service(connection, shape)
        say(f"{shape.sources:,} sources, {shape.flows:,} flows")
        _metadata(connection, shape)
        indexes = _drop_indexes(connection, SEGMENTS, OBJECTS)
        say(f"{shape.segments:,} segments")
        _insert(connection, SEGMENTS, _segments(shape))
        say("objects")
        _insert(connection, OBJECTS, _objects(shape, storage_id))
        say("indexes")
        for statement in indexes:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


def _service(connection: sqlite3.Connection, shape: Shape) -> str:
    """Name the catalog and its storage backend after the seed; the backend's id."""
    log_id = shape.id("log")[:8]
    connection.execute("UPDATE service SET value = ? WHERE name = 'log_id'", (log_id,))
    storage_id = shape.id("storage")
    _insert(connection, SERVICE, [(f"storage_backend:{_BACKEND_LABEL}", storage_id)])
    body = orjson.dumps({"label": _BACKEND_LABEL}).decode()
    row = (storage_id, _BACKEND_LABEL, body, created_us(shape.sources))
    _insert(connection, STORAGE_BACKENDS, [row])
    return storage_id


def _metadata(connection: sqlite3.Connection, shape: Shape) -> None:
    sources = [source_row(shape, source) for source in range(shape.sources)]
    flows = [flow_record(shape, flow) for flow in range(shape.flows)]
    _insert(connection, SOURCES, sources)
    _insert(connection, FLOWS, flows)
    for table, records in ((SOURCES, sources), (FLOWS, flows)):
        for record in records:
            tags.index(connection, table, record.id, record.tags, known=False)
    counters = (counters_row(shape, flow) for flow in range(shape.flows))
    _insert(connection, FLOW_COUNTERS, counters)


def _segments(shape: Shape) -> Iterator[Sequence[Any]]:
    """In the order of the table's key, so that the tree grows at its end."""
    flows = sorted((shape.id("flow", flow), flow) for flow in range(shape.filled_flows))
    for flow_id, flow in flows:
        for nth in range(shape.segments_of(flow)):
            yield segment_row(shape, flow_id, Place(flow, nth))


def _objects(shape: Shape, storage_id: str) -> Iterator[Sequence[Any]]:
    """In the order of their ids."""
    places = list(shape.objects())
    ids = [shape.object_id(place) for place in places]
    for index in sorted(range(len(ids)), key=ids.__getitem__):
        yield object_row(shape, places[index], storage_id)


def _drop_indexes(connection: sqlite3.Connection, *tables: Table) -> list[str]:
    """Indexes are built faster over rows that are there; the statements that make them again."""
    statements = []
    for table in tables:
        found = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?"
            " AND sql IS NOT NULL",
            (table.name,),
        ).fetchall()
        for name, statement in found:
            connection.execute(f"DROP INDEX {name}")
            statements.append(str(statement))
    return statements


def _insert(connection: sqlite3.Connection, table: Table, rows: Iterable[Sequence[Any]]) -> None:
    columns, marks = ", ".join(table.columns), ", ".join("?" * len(table.columns))
    connection.executemany(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", rows)
