"""The benchmark of presigning: it compares the URLs, and the goal of performance holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOAL = 20.0


def test_a_page_of_urls_is_at_least_twenty_times_cheaper_than_with_botocore() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench.presign", "--keys", "200", "--rounds", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    ratios = {line[:22].strip(): float(line.rpartition(":")[2]) for line in run.stdout.splitlines()}
    assert list(ratios) == ["botocore", "aiobotocore", "tams_gql, one by one", "tams_gql, a page"]
    assert re.search(r"^botocore +[0-9.]+ µs a URL +botocore / this: +1\.0$", run.stdout, re.M)
    assert ratios["tams_gql, a page"] >= GOAL
