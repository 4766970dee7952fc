"""How tests reach an emulated cluster."""

from __future__ import annotations

from typing import Any

from tams_gql.store.vast.config import VastConfig
from tests.vast_emulator import Emulator


def config_of(emulator: Emulator, bucket: str, **others: Any) -> VastConfig:
    """The connection to one bucket."""
    keys = {"access_key": emulator.access_key, "secret_key": emulator.secret_key}
    return VastConfig((emulator.url,), bucket=bucket, **(keys | others))
