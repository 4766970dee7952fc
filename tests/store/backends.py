"""The backends that must pass the contract. A new one joins by one more factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tams_gql.store.embedded import EmbeddedStore
from tams_gql.store.port import CatalogStore


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


NEW: Mapping[str, Callable[[Path], Backend]] = {"embedded": _embedded}
"""By name: makes a new catalog, given a directory of its own."""

REOPEN: Mapping[str, Callable[[str], Backend]] = {"embedded": EmbeddedBackend}
"""By name: the catalog at an address."""
