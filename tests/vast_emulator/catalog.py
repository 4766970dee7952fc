"""Immutable catalogs: the schemas and tables of one bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from .errors import conflict, not_found
from .storage import Table

Change = Callable[["Catalog"], "Catalog"]


@dataclass(frozen=True)
class Schema:
    """A schema: its tables by name. Nested schemas are entries of their own in the catalog."""

    tables: Mapping[str, Table] = field(default_factory=dict)
    properties: str = ""


@dataclass(frozen=True, eq=False)
class Catalog:
    """One version of a bucket; ``places`` finds a table by its id, whatever its name is now."""

    schemas: Mapping[str, Schema] = field(default_factory=dict)
    places: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    def schema(self, path: str) -> Schema:
        """The schema at ``path``; RpcError 404 when there is none."""
        if path not in self.schemas:
            raise not_found(f"schema {path!r}")
        return self.schemas[path]

    def table(self, path: str, name: str) -> Table:
        """A table by name; RpcError 404 when there is none."""
        table = self.schema(path).tables.get(name)
        if table is None:
            raise not_found(f"table {path}/{name!r}")
        return table

    def table_by_id(self, table_id: int) -> Table:
        """A table by id; RpcError 409 when it has been dropped meanwhile."""
        if table_id not in self.places:
            raise conflict("the table was dropped by another transaction")
        path, name = self.places[table_id]
        return self.schemas[path].tables[name]

    def children(self, parent: str) -> list[str]:
        """Names of the direct children of ``parent`` (empty for the bucket), sorted."""
        prefix = f"{parent}/" if parent else ""
        names = (path[len(prefix) :] for path in self.schemas if path.startswith(prefix))
        return sorted(name for name in names if name and "/" not in name)

    def with_schema(self, path: str, properties: str) -> Catalog:
        """Add a schema."""
        if path in self.schemas:
            raise conflict(f"schema {path!r} exists", "TabularSchemaAlreadyExists")
        parent, _, _ = path.rpartition("/")
        if parent:
            self.schema(parent)
        return replace(self, schemas={**self.schemas, path: Schema(properties=properties)})

    def without_schema(self, path: str) -> Catalog:
        """Remove an empty schema."""
        if self.schema(path).tables or self.children(path):
            raise conflict(f"schema {path!r} is not empty", "TabularSchemaNotEmpty")
        return replace(
            self, schemas={key: value for key, value in self.schemas.items() if key != path}
        )

    def schema_renamed(self, old: str, new: str) -> Catalog:
        """Rename a schema and move everything below it."""
        self.schema(old)
        if new in self.schemas:
            raise conflict(f"schema {new!r} exists", "TabularSchemaAlreadyExists")

        def moved(path: str) -> str:
            inside = path == old or path.startswith(f"{old}/")
            return new + path[len(old) :] if inside else path

        return Catalog(
            {moved(path): schema for path, schema in self.schemas.items()},
            {key: (moved(path), name) for key, (path, name) in self.places.items()},
        )

    def with_table(self, path: str, name: str, table: Table) -> Catalog:
        """Add a table."""
        schema = self.schema(path)
        if name in schema.tables:
            raise conflict(f"table {path}/{name!r} exists", "TabularTableAlreadyExists")
        return Catalog(
            {**self.schemas, path: replace(schema, tables={**schema.tables, name: table})},
            {**self.places, table.id: (path, name)},
        )

    def without_table(self, table_id: int) -> Catalog:
        """Remove a table."""
        self.table_by_id(table_id)
        path, name = self.places[table_id]
        schema = self.schemas[path]
        tables = {key: value for key, value in schema.tables.items() if key != name}
        return Catalog(
            {**self.schemas, path: replace(schema, tables=tables)},
            {key: value for key, value in self.places.items() if key != table_id},
        )

    def table_renamed(self, table_id: int, path: str, name: str) -> Catalog:
        """Move a table; its id stays."""
        table = self.table_by_id(table_id)
        return self.without_table(table_id).with_table(path, name, table)

    def table_changed(self, table_id: int, change: Callable[[Table], Table]) -> Catalog:
        """Put a new version of a table in the place of the present one."""
        changed = change(self.table_by_id(table_id))
        path, name = self.places[table_id]
        schema = self.schemas[path]
        return replace(
            self,
            schemas={
                **self.schemas,
                path: replace(schema, tables={**schema.tables, name: changed}),
            },
        )
