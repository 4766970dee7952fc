"""One emulated cluster for all tests, and a bucket of its own with an empty catalog for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import count

import pytest

from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.schema import migrate
from tams_gql.store.vast.wire.client import VastClient
from tests.store.vast.clusters import config_of
from tests.vast_emulator import Emulator

_NUMBERS = count()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Emulator]:
    """The emulated cluster; ``emulator`` is the same with nothing left of other tests."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(cluster: Emulator) -> Iterator[Emulator]:
    """The emulated cluster with its usual behaviour, which is restored after the test."""
    with cluster.switched(**asdict(cluster.switches)):
        yield cluster
    cluster.faults.clear()
    cluster.expire_transactions()


@pytest.fixture(scope="session")
def migrated(cluster: Emulator) -> str:
    """A bucket with an empty catalog, to be copied."""
    bucket = cluster.create_bucket("migrated")
    with closing(VastClient(config_of(cluster, bucket))) as client:
        migrate(client)
    return bucket


@pytest.fixture
def config(emulator: Emulator, migrated: str) -> Iterator[VastConfig]:
    """An empty catalog in a bucket of its own."""
    bucket = f"test-{next(_NUMBERS)}"
    emulator.copy_bucket(migrated, bucket)
    yield config_of(emulator, bucket)
    emulator.drop_bucket(bucket)


@pytest.fixture
def client(config: VastConfig) -> Iterator[VastClient]:
    """A client of the empty catalog."""
    with closing(VastClient(config)) as client:
        yield client
