"""The backends that must pass the contract. A new one joins by one more factory."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import Protocol

from tams_gql.store.embedded import EmbeddedStore
from tams_gql.store.port import CatalogStore
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.schema import migrate
from tams_gql.store.vast.store import VastStore
from tams_gql.store.vast.wire.client import VastClient
from tests.vast_emulator import Emulator


class Backend(Protocol):
    """One empty catalog that any number of stores, in any process, can open."""

    @property
    def address(self) -> str:
        """What another process needs to open the same catalog, beside the backend's name."""
        ...

    async def open(self) -> CatalogStore:
        """One more store on the catalog; the caller closes it."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddedBackend:
    """A SQLite file."""

    address: str

    async def open(self) -> CatalogStore:
        # What a power cut leaves is no matter of the contract's tests, and every sync takes time.
        return await EmbeddedStore.open(Path(self.address), synchronous="normal")


def _embedded(directory: Path) -> Backend:
    return EmbeddedBackend(str(directory / "catalog.db"))


@dataclass(frozen=True, slots=True)
class VastBackend:
    """A bucket of a cluster: ``ENDPOINT|BUCKET|ACCESS KEY|SECRET KEY``."""

    address: str

    async def open(self) -> CatalogStore:
        return await VastStore.open(_config(self.address))


_EMPTY = "empty-catalog"
_NUMBERS = count()


@cache
def _cluster() -> Emulator:
    """An emulated cluster for all tests, with an empty catalog to copy."""
    emulator = Emulator().start()
    atexit.register(emulator.stop)
    emulator.create_bucket(_EMPTY)
    with closing(VastClient(_config(_address(emulator, _EMPTY)))) as client:
        migrate(client)
    return emulator


def _address(emulator: Emulator, bucket: str) -> str:
    return "|".join((emulator.url, bucket, emulator.access_key, emulator.secret_key))


def _config(address: str) -> VastConfig:
    endpoint, bucket, access_key, secret_key = address.split("|")
    return VastConfig((endpoint,), access_key, secret_key, bucket)


def _vast(directory: Path) -> Backend:
    emulator = _cluster()
    bucket = f"{directory.name}-{next(_NUMBERS)}"
    address = _address(emulator, bucket)
    if directory.name == "catalog-0":
        emulator.copy_bucket(_EMPTY, bucket)
    else:  # a test that has a second catalog wants it to have an identity of its own
        emulator.create_bucket(bucket)
        with closing(VastClient(_config(address))) as client:
            migrate(client)
    return VastBackend(address)


NEW: Mapping[str, Callable[[Path], Backend]] = {"embedded": _embedded, "vast": _vast}
"""By name: makes a new catalog, given a directory of its own."""

REOPEN: Mapping[str, Callable[[str], Backend]] = {"embedded": EmbeddedBackend, "vast": VastBackend}
"""By name: the catalog at an address."""
