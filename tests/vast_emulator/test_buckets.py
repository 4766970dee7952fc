"""Buckets: empty ones, and copies that share rows but nothing else."""

from __future__ import annotations

import ibis
import pyarrow as pa
import pytest
from vastdb import errors

from tests.vast_emulator.driving import SCHEMA, Driver

COLUMNS = {"id": pa.utf8(), "n": pa.int64()}


@pytest.fixture
def template(driver: Driver) -> Driver:
    """A bucket with a table of three rows."""
    driver.create("t", COLUMNS)
    with driver() as tx:
        driver.insert(tx, {"id": ["a", "b", "c"], "n": [1, 2, 3]})
    return driver


def copy_of(template: Driver, name: str) -> Driver:
    copied = Driver(template.emulator, template.emulator.copy_bucket(template.bucket, name))
    copied.know("t", pa.schema(COLUMNS))
    return copied


def test_a_copy_is_independent(template: Driver) -> None:
    copied = copy_of(template, "copied")
    with template() as tx, copied() as other:
        template.update(tx, [0], {"n": [10]})
        copied.update(other, [0], {"n": [11]})
        assert template.insert(tx, {"id": ["d"]}) == [3]
        assert copied.insert(other, {"id": ["e"]}) == [3]
        copied.delete(other, [1])
    with template() as tx, copied() as other:
        assert template.read(tx).to_pydict() == {"id": ["a", "b", "c", "d"], "n": [10, 2, 3, None]}
        assert copied.read(other).to_pydict() == {"id": ["a", "c", "e"], "n": [11, 3, None]}
    copied.close()


def test_a_copy_has_committed_rows_only(template: Driver) -> None:
    tx = template.begin()
    template.insert(tx, {"id": ["open"]})
    copied = copy_of(template, "committed only")
    with copied() as other:
        assert copied.column(other, "id") == ["a", "b", "c"]
    copied.close()


def test_one_transaction_over_two_buckets(template: Driver) -> None:
    copied = copy_of(template, "second")
    with template() as tx:
        template.update(tx, [0], {"n": [10]})
        copied.update(tx, [0], {"n": [11]})
    with template() as tx:
        assert template.column(tx, "n", ibis._.id == "a") == [10]
        assert copied.column(tx, "n", ibis._.id == "a") == [11]
    copied.close()


def test_creating_a_bucket_again_empties_it(template: Driver) -> None:
    with template() as tx:
        template.emulator.create_bucket(template.bucket)
        assert template.column(tx, "id") == ["a", "b", "c"]
    with template() as tx:
        assert tx.bucket(template.bucket).schemas() == []


def test_a_dropped_bucket_is_missing(template: Driver) -> None:
    template.emulator.drop_bucket(template.bucket)
    with template() as tx, pytest.raises(errors.MissingBucket):
        tx.bucket(template.bucket)


def test_schemas_are_nested_and_renamed_with_their_tables(template: Driver) -> None:
    with template() as tx:
        bucket = tx.bucket(template.bucket)
        inner = bucket.schema(SCHEMA).create_schema("inner")
        inner.create_table("t", pa.schema(COLUMNS))
        bucket.schema(SCHEMA).rename("moved")
    with template() as tx:
        moved = tx.bucket(template.bucket).schema("moved")
        assert [schema.name for schema in moved.schemas()] == ["moved/inner"]
        assert moved.schemas()[0].tablenames() == ["t"]
        assert moved.table("t").select().read_all().num_rows == 3
        with pytest.raises(errors.Conflict):
            moved.drop()
