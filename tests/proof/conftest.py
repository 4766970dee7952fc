"""What the proofs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof.servers import Server, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start server processes; all those of one test share a data directory."""
    servers: list[Server] = []

    def run(**env: str) -> Server:
        servers.append(Server(tmp_path / "data", **env))
        return servers[-1]

    yield run
    for server in servers:
        server.close()
