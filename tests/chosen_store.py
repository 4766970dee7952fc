"""Which store the catalogs of a test are kept in: ``quick_settings`` asks here.

``catalog_store`` of ``tests/conftest.py`` chooses. Whatever builds its catalogs from
``quick_settings`` so runs on every store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from tests.vast_emulator import emulator_process

_BUCKET, _ACCESS_KEY, _SECRET_KEY = "template", "AK", "SK"


class _Choice(Protocol):
    def settings(self, data_dir: Path) -> dict[str, Any]:
        """What the settings of the catalog at ``data_dir`` have beside their defaults."""
        ...


class _Embedded:
    def settings(self, data_dir: Path) -> dict[str, Any]:
        return {}


class _Vast:
    """A bucket for each data directory, on one emulated cluster with its process of its own."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        # What a killed server had begun keeps its rows from others until the cluster ends it.
        emulator = emulator_process("--transaction-idle-seconds", "5")
        self._emulator = self._stack.enter_context(emulator)
        self._buckets: set[str] = set()
        self._migrate()

    def settings(self, data_dir: Path) -> dict[str, Any]:
        bucket = blake2b(str(data_dir.absolute()).encode(), digest_size=8).hexdigest()
        if bucket not in self._buckets:
            self._buckets.add(self._emulator.copy_bucket(_BUCKET, bucket))
            self._name_log(bucket)
        return {
            "store": "vast",
            "vast_endpoints": (self._emulator.url,),
            "vast_access_key": _ACCESS_KEY,
            "vast_secret_key": _SECRET_KEY,
            "vast_bucket": bucket,
            "event_poll_ms": 25,
        }

    def forget(self) -> None:
        """Drop the catalogs."""
        for bucket in self._buckets:
            self._emulator.drop_bucket(bucket)
        self._buckets.clear()

    def close(self) -> None:
        """Stop the cluster."""
        self._stack.close()

    def _client(self, bucket: str) -> Any:
        from tams_gql.store.vast.config import VastConfig
        from tams_gql.store.vast.wire.client import VastClient

        return VastClient(VastConfig((self._emulator.url,), _ACCESS_KEY, _SECRET_KEY, bucket))

    def _migrate(self) -> None:
        from tams_gql.store.vast.schema import migrate

        self._emulator.create_bucket(_BUCKET)
        with closing(self._client(_BUCKET)) as client:
            migrate(client)

    def _name_log(self, bucket: str) -> None:
        """Give the copy a change log of its own, as every catalog has."""
        import pyarrow as pa

        from tams_gql.store.scan import eq
        from tams_gql.store.tables import SERVICE
        from tams_gql.store.vast.layout import physical_of

        service = physical_of(SERVICE)
        with closing(self._client(bucket)) as client:
            tx = client.begin()
            ids = tx.select(service, (), [eq("name", "log_id")], row_ids=True).column(0)
            values = pa.array([bucket[:8]], pa.string())
            tx.update(
                service,
                pa.record_batch([ids.combine_chunks(), values], names=["$row_id", "value"]),
            )
            tx.commit()


_chosen: _Choice = _Embedded()
_vast: list[_Vast] = []


def store_settings(data_dir: Path) -> dict[str, Any]:
    """The settings of a catalog in the chosen store."""
    return _chosen.settings(data_dir)


def store_environment(data_dir: Path) -> dict[str, str]:
    """The same as variables, for a server process."""
    return {
        f"TAMS_{name.upper()}": ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in store_settings(data_dir).items()
    }


@contextmanager
def chosen(name: str) -> Iterator[None]:
    """Keep catalogs in the store of that name meanwhile."""
    global _chosen
    before = _chosen
    _chosen = _running_vast() if name == "vast" else _Embedded()
    try:
        yield
    finally:
        if isinstance(_chosen, _Vast):
            _chosen.forget()
        _chosen = before


def _running_vast() -> _Vast:
    if not _vast:
        _vast.append(_Vast())
    return _vast[0]


def stop() -> None:
    """Stop what has been started for the tests."""
    while _vast:
        _vast.pop().close()
