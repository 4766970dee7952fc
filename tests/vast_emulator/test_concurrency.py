"""Many writers at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import ibis
import pyarrow as pa
import pytest
from vastdb import errors

from tests.vast_emulator.driving import Driver

COLUMNS = {"id": pa.utf8(), "n": pa.int64()}
WRITERS, ROUNDS = 4, 5


def increment(driver: Driver) -> int:
    """Read, add one, write; again after a conflict. Return the number of conflicts."""
    conflicts = 0
    while True:
        tx = driver.begin()
        try:
            (value,) = driver.column(tx, "n", ibis._.id == "counter")
            driver.update(tx, [0], {"n": [value + 1]})
            driver.insert(tx, {"id": ["event"], "n": [value]})
        except errors.Conflict:
            conflicts += 1
            driver.session.api.rollback_transaction(tx.txid)
            continue
        try:
            driver.commit(tx)
        except errors.Conflict:
            conflicts += 1
            continue
        return conflicts


@pytest.mark.parametrize("conflict", ["eager", "commit"])
def test_increments_are_not_lost(driver: Driver, conflict: str) -> None:
    driver.create("t", COLUMNS)
    with driver() as tx:
        driver.insert(tx, {"id": ["counter"], "n": [0]})
    writers = WRITERS * ROUNDS
    with driver.emulator.switched(conflict=conflict), ThreadPoolExecutor(WRITERS) as pool:
        sum(pool.map(lambda _: increment(driver), range(writers)))
    with driver() as tx:
        assert driver.column(tx, "n", ibis._.id == "counter") == [writers]
        assert sorted(driver.column(tx, "n", ibis._.id == "event")) == list(range(writers))
    assert driver.emulator.open_transactions() == []


def test_increments_are_lost_without_conflicts(driver: Driver) -> None:
    driver.create("t", COLUMNS)
    with driver() as tx:
        driver.insert(tx, {"id": ["counter"], "n": [0]})
    with driver.emulator.switched(conflict="none"), driver() as first, driver() as second:
        for tx in (first, second):
            (value,) = driver.column(tx, "n", ibis._.id == "counter")
            driver.update(tx, [0], {"n": [value + 1]})
    with driver() as tx:
        assert driver.column(tx, "n") == [1]


def test_inserts_of_many_transactions(driver: Driver) -> None:
    driver.create("t", COLUMNS)

    def insert(number: int) -> list[int]:
        with driver() as tx:
            ids = driver.insert(tx, {"id": [f"{number}"] * 3, "n": [0, 1, 2]})
            assert driver.column(tx, "n", ibis._.id == f"{number}") == [0, 1, 2]
        return ids

    with ThreadPoolExecutor(WRITERS) as pool:
        given = [row for ids in pool.map(insert, range(40)) for row in ids]
    assert sorted(given) == list(range(120))
    with driver() as tx:
        assert driver.read(tx, columns=[]).num_rows == 120
