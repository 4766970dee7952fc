"""One emulator for all tests of this directory; a bucket of its own for each."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import pytest

from tests.vast_emulator import Emulator
from tests.vast_emulator.driving import Driver

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    """An emulator that all tests use."""
    with Emulator(bucket="start") as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Iterator[Emulator]:
    """The shared emulator with its first switches and without faults."""
    with shared_emulator.switched():
        yield shared_emulator
        shared_emulator.faults.clear()
        shared_emulator.expire_transactions()


@pytest.fixture
def driver(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> Iterator[Driver]:
    """The SDK on an empty bucket."""
    caplog.set_level(logging.CRITICAL, "vastdb")
    driver = Driver(emulator, emulator.create_bucket(f"b{next(_numbers)}"))
    yield driver
    driver.close()
