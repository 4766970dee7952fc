"""However the object store fails, catalog and bucket agree in the end, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.media.s3_server import S3Server
from tests.object_store.chaos import chaotic


async def _storm(folder: Path, s3: S3Server, *, seed: int, rounds: int, seconds: float) -> None:
    async with chaotic(folder, s3, seed) as chaos:
        await chaos.empty()
        for round_ in range(rounds):
            await chaos.run(seconds=seconds, seed=seed + round_)
            # What the round left behind has lapsed when the next one cleans up under faults.
            chaos.pass_time(3)
        told = chaos.clients.told
        assert told["registered"] > 5 * rounds
        assert told["upload failed"] > 3 * rounds
        assert told["UNAVAILABLE"] > 0
        await chaos.settle()
        await chaos.check()
        if rounds > 10:  # under enough faults a copy takes longer than a short storm
            assert chaos.copied > 0


async def test_a_storm_leaves_catalog_and_bucket_in_agreement(tmp_path: Path, s3: S3Server) -> None:
    await _storm(tmp_path, s3, seed=1, rounds=6, seconds=1.0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 106))
async def test_long_storms_leave_catalog_and_bucket_in_agreement(
    tmp_path: Path, s3: S3Server, seed: int
) -> None:
    await _storm(tmp_path, s3, seed=seed, rounds=15, seconds=2.0)
