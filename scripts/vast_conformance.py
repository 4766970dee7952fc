"""Run the tests that ship inside the ``vastdb`` package against the emulator.

    python scripts/vast_conformance.py --cache DIR

The tests need packages that the project does not; they are installed once below the cache
directory (or ``VAST_CONFORMANCE_CACHE``). The exit code is 0 when every demanded test has passed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Without their dependencies, which the project has already: boto3 is imported by the suite's
# conftest, pandas by its helpers, pytest-check is a fixture, DuckDB 2 breaks one test.
PACKAGES = (
    "boto3==1.44.5",
    "botocore==1.44.5",
    "s3transfer==0.19.3",
    "jmespath==1.1.0",
    "pandas==3.1.1",
    "pytest-check==3.0.3",
    "duckdb==1.3.2",
)

# Catalog and audit log need a real cluster; one test sleeps for five minutes.
SELECTION = "not catalog and not audit_log and not test_elysium_splits"


@dataclass(frozen=True)
class Run:
    """Test modules on one emulator: how many of each must pass."""

    name: str
    demanded: dict[str, int]
    server_version: str = "5.5.0.0"


# Two runs at a time: one is bound by the client's CPU, the other sleeps for half a minute.
RUNS = (
    Run("tables", {"test_tables": 64}),
    Run(
        "others",
        {
            "test_sanity": 4,
            "test_schemas": 6,
            "test_table_in_tx": 13,
            "test_nested": 4,
            "test_projections": 3,
            "test_configs": 2,
            "test_duckdb": 1,
        },
    ),
    Run("fixed lists", {"test_fixed_list": 48}),
    Run("server 5.4", {"test_sanity": 4, "test_table_in_tx": 13}, "5.4.0.0"),
    Run("server 5.3", {"test_sanity": 4, "test_table_in_tx": 13}, "5.3.1.0"),
)
DEMANDED = 97
"""Tests of the first two runs."""


def installed_packages(cache: Path) -> Path:
    """Install what the suite needs below ``cache``, unless it is there; return the directory."""
    target = cache / f"packages-{sys.version_info.major}.{sys.version_info.minor}"
    stamp = target / "complete.txt"
    wanted = "\n".join(PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
        command += ["--quiet", "--no-deps", "--upgrade", "--target", str(target), *PACKAGES]
        subprocess.run(command, check=True)
        stamp.write_text(wanted)
    return target


def suite_directory() -> Path:
    """Where the tests of the installed SDK are."""
    found = importlib.util.find_spec("vastdb")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the package vastdb is not installed")
    return Path(found.submodule_search_locations[0]) / "tests"


def pytest_command(run: Run, url: str, report: Path) -> list[str]:
    """The command of one run; the project's own configuration is kept out of it."""
    suite = suite_directory()
    # Below the root directory, the report names tests by their module.
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(suite.parent)]
    command += ["-p", "no:cacheprovider", "-p", "no:asyncio", "-q", "--disable-warnings"]
    command += [f"--junitxml={report}", "-k", SELECTION]
    # Files, not --pyargs: the conftest that defines the options would be found too late.
    command += [str(suite / f"{module}.py") for module in run.demanded]
    command += ["--tabular-endpoint-url", url, "--tabular-bucket-name", "vastdb"]
    return [*command, "--tabular-access-key", "AK", "--tabular-secret-key", "SK"]


def passed(report: Path) -> Counter[str]:
    """How many tests of each module passed."""
    counts: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        if not any(child.tag in ("failure", "error", "skipped") for child in case):
            counts[case.get("classname", "").rpartition(".")[2]] += 1
    return counts


def execute(run: Run, packages: Path) -> Counter[str]:
    """Start an emulator, run the modules on it, print what pytest said."""
    from tests.vast_emulator import emulator_process

    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(packages)
    arguments = ("--bucket", "vastdb", "--version", run.server_version)
    with tempfile.TemporaryDirectory() as directory, emulator_process(*arguments) as emulator:
        scratch = Path(directory)
        report = scratch / "report.xml"
        command = pytest_command(run, emulator.url, report)
        ended = subprocess.run(
            command, cwd=scratch, env=environment, text=True, capture_output=True, check=False
        )
        lines = (ended.stdout + ended.stderr).strip()
        failed = ended.returncode != 0
        print(f"--- {run.name}\n{lines if failed else lines[-2000:]}", flush=True)
        counts = passed(report) if report.exists() else Counter()
        counts["failed runs"] = int(failed)
        return counts


def main() -> int:
    """Run everything; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=os.environ.get("VAST_CONFORMANCE_CACHE"))
    cache = parser.parse_args().cache
    if cache is None:
        parser.error("name a directory with --cache or VAST_CONFORMANCE_CACHE")
    started = time.monotonic()
    packages = installed_packages(Path(cache).resolve())
    sys.path.insert(0, str(ROOT))
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda run: execute(run, packages), RUNS))
    short = [
        f"{run.name}: {module} {counts[module]} of {number}"
        for run, counts in zip(RUNS, results, strict=True)
        for module, number in run.demanded.items()
        if counts[module] < number
    ]
    totals = [
        sum(counts[module] for module in run.demanded)
        for run, counts in zip(RUNS, results, strict=True)
    ]
    print(
        f"vastdb {version('vastdb')}: {sum(totals[:2])} of {DEMANDED} demanded tests passed, "
        f"{sum(totals[2:])} more, {time.monotonic() - started:.0f} s"
    )
    for line in short:
        print(f"too few passed: {line}")
    return 1 if short or sum(totals[:2]) < DEMANDED or any(c["failed runs"] for c in results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
