"""What tests of the whole application share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import settings

from tams_gql.schema import build_schema
from tests.catalog import Catalog, quick_settings, running, serving
from tests.chosen_store import chosen, stop
from tests.gql import GraphQL
from tests.seed import Seed

# Machines that run tests are shared: a slow example says nothing about the code.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")


@pytest.fixture(scope="session", autouse=True)
def _one_schema() -> Iterator[None]:
    """Build the schema once for all applications: that is most of what starting one takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tams_gql.app.build_schema", lru_cache(build_schema))
        yield


# Tests that run on every store; elsewhere catalogs are embedded. On a cluster they are part of
# `make soak`, except for files that `make test` repeats there: what stores do most differently.
_ON_EVERY_STORE = ("tests/lifecycle/", "tests/proof/", "tests/schema/")
_AT_ONCE = tuple(
    f"tests/schema/test_{name}.py"
    for name in (
        "coverage",
        "filters",
        "idempotency",
        "paging",
        "processes",
        "put_flow",
        "register_segments",
        "round_trips",
        "subscriptions",
    )
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat tests that have a catalog for every store."""
    nodeid = metafunc.definition.nodeid
    has_catalog = not {"tmp_path", "tmp_path_factory"}.isdisjoint(metafunc.fixturenames)
    if not (has_catalog and nodeid.startswith(_ON_EVERY_STORE)):
        return
    marks = () if nodeid.startswith(_AT_ONCE) else pytest.mark.soak
    stores = ["embedded", pytest.param("vast", marks=marks)]
    metafunc.parametrize("catalog_store", stores, indirect=True, scope="session")


@pytest.fixture(scope="session", autouse=True)
def catalog_store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The store that catalogs are kept in."""
    name: str = getattr(request, "param", "embedded")
    with chosen(name):
        yield name


@pytest.fixture(scope="session", autouse=True)
def _stop_stores() -> Iterator[None]:
    yield
    stop()


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    """A new catalog with default settings, in this process."""
    async with running(quick_settings(tmp_path)) as catalog:
        yield catalog


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Catalog]:
    """A new catalog with default settings, behind a real socket."""
    async with serving(quick_settings(tmp_path)) as catalog:
        yield catalog


@pytest.fixture
def gql(catalog: Catalog) -> GraphQL:
    """The client of ``catalog``."""
    return catalog.gql


@pytest.fixture
def seed(catalog: Catalog) -> Seed:
    """Fills ``catalog``."""
    return Seed(catalog.gql, catalog.http)
