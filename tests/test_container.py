"""The container image, without a container engine.

The Dockerfile is read, and what it says is done in a temporary directory: the same files are
copied, the same script installs them, and the same command is started with the same environment.
Only the base image, the user and the paths differ.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.ports import free_port
from tests.processes import Process

ROOT = Path(__file__).parents[1]
PROGRAM = "tams-gql"


def _instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    parts = [line.split(maxsplit=1) for line in lines if line.strip()]
    return [(name, re.sub(r"\s+", " ", rest)) for name, rest in parts]


def _stages() -> list[list[tuple[str, str]]]:
    stages: list[list[tuple[str, str]]] = []
    for instruction in _instructions():
        if instruction[0] == "FROM":
            stages.append([])
        stages[-1].append(instruction)
    return stages


def _arguments(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for instruction, rest in stage if instruction == name]


def _environment(stage: list[tuple[str, str]]) -> dict[str, str]:
    pairs = " ".join(_arguments(stage, "ENV")).split()
    return dict(pair.split("=", 1) for pair in pairs)


BUILD, FINAL = _stages()


def _copied() -> list[tuple[Path, Path]]:
    """Return what the first stage copies out of the repository, and where below the source."""
    pairs = []
    for rest in _arguments(BUILD, "COPY"):
        *sources, target = rest.split()
        for source in sources:
            into_directory = target.endswith("/")
            place = Path(target) / Path(source).name if into_directory else Path(target)
            pairs.append((ROOT / source, place))
    return pairs


def _runtime_distributions() -> dict[NormalizedName, metadata.Distribution]:
    """Return every installed distribution that the program needs to run, by canonical name."""
    found: dict[NormalizedName, metadata.Distribution] = {}
    # Without extras: what only the tests need is not in the image.
    open_requirements = [
        (Requirement(text), {""}) for text in metadata.requires(PROGRAM) or [] if text
    ]
    while open_requirements:
        requirement, extras = open_requirements.pop()
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in extras):
            continue
        name = canonicalize_name(requirement.name)
        wanted = {"", *requirement.extras}
        if name not in found or requirement.extras:
            found[name] = metadata.distribution(name)
            open_requirements += [
                (Requirement(text), wanted) for text in found[name].requires or []
            ]
    return found


def _link(distribution: metadata.Distribution, packages: Path) -> None:
    """Make an installed distribution visible in another environment."""
    for file in distribution.files or []:
        top = file.parts[0]
        link = packages / top
        if top not in {"..", "__pycache__"} and not link.exists():
            link.symlink_to(Path(str(distribution.locate_file(top))))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the environment that the install script of the image makes.

    pip is told to leave out the dependencies, and exactly those the metadata names are linked
    from the environment of the tests: installing 100 packages anew takes most of a minute, and
    the same constraints file was used for the ones that are here.
    """
    source = tmp_path_factory.mktemp("source")
    for origin, place in _copied():
        target = source / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            copytree(origin, target, ignore=ignore_patterns("__pycache__"))
        else:
            copy2(origin, target)
    prefix = tmp_path_factory.mktemp("image") / "prefix"
    (command,) = _arguments(BUILD, "RUN")
    assert command == f"sh deploy/install.sh /opt/{PROGRAM}"
    done = subprocess.run(
        ["sh", "deploy/install.sh", str(prefix)],
        cwd=source,
        env={**os.environ, "PYTHON": sys.executable, "PIP_NO_DEPS": "1", "PIP_QUIET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (packages,) = prefix.glob("lib/python3*/site-packages")
    for distribution in _runtime_distributions().values():
        _link(distribution, packages)
    return prefix


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def container(image: Path, tmp_path: Path, port: int) -> Iterator[tuple[Process, Any]]:
    """Start the image's command in an empty directory; yield it and what runs others beside it."""
    data, workplace = tmp_path / "data", tmp_path / "empty"
    data.mkdir()
    workplace.mkdir()
    env = _environment(FINAL)
    assert env["PATH"].startswith(f"/opt/{PROGRAM}/bin:")
    assert env["TAMS_DATA_DIR"] == _arguments(FINAL, "VOLUME")[0] == "/data"
    env |= {
        "PATH": f"{image}/bin:{os.environ['PATH']}",
        "TAMS_DATA_DIR": str(data),
        "TAMS_PORT": str(port),
        "PYTHONPATH": "",
    }

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(image / "bin" / command[0]), *command[1:]],
            env={**os.environ, **env},
            cwd=workplace,
            capture_output=True,
            text=True,
            timeout=60,
        )

    (command,) = (json.loads(rest) for rest in _arguments(FINAL, "CMD"))
    process = Process([str(image / "bin" / command[0]), *command[1:]], env, workplace)
    yield process, run
    process.close()


def test_the_context_holds_what_is_copied_and_no_more() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    assert "*" in rules
    assert sorted(allowed) == sorted(str(path.relative_to(ROOT)) for path, _ in _copied())
    assert all(path.exists() for path, _ in _copied())


def test_the_final_image_runs_as_an_ordinary_user_on_the_documented_port() -> None:
    assert all(rest.startswith("python:3.12-slim") for rest in _arguments(BUILD + FINAL, "FROM"))
    assert _arguments(BUILD, "FROM")[0].split()[-2:] == ["AS", "build"]
    assert _arguments(FINAL, "COPY") == [f"--from=build /opt/{PROGRAM} /opt/{PROGRAM}"]
    (user,) = _arguments(FINAL, "USER")
    (create_user,) = _arguments(FINAL, "RUN")
    assert f"--uid {user} " in create_user
    assert int(user) >= 1000
    assert _arguments(FINAL, "EXPOSE") == ["8000"]
    assert _environment(BUILD)["PIP_NO_CACHE_DIR"] == "1"


def test_every_package_of_the_image_has_a_pinned_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pinned = {canonicalize_name(name): version for name, version in (x.split("==") for x in lines)}
    installed = {name: d.version for name, d in _runtime_distributions().items()}
    assert {name: pinned.get(name) for name in installed} == installed


def test_the_wheel_carries_every_file_that_is_not_code(image: Path) -> None:
    wanted = {
        str(path.relative_to(ROOT))
        for pattern in ("**/*.sql", "**/*.graphql", "**/static/**/*", "py.typed")
        for path in (ROOT / "tams_gql").glob(pattern)
        if path.is_file()
    }
    (packages,) = image.glob("lib/python3*/site-packages")
    assert {"tams_gql/py.typed", "tams_gql/schema/schema.graphql"} <= wanted
    assert any(fnmatch(name, "tams_gql/store/embedded/migrations/*.sql") for name in wanted)
    assert any(fnmatch(name, "tams_gql/http/explorer/static/*.js") for name in wanted)
    assert sorted(name for name in wanted if not (packages / name).is_file()) == []


def test_the_image_starts_answers_is_healthy_and_stops(
    container: tuple[Process, Any], image: Path, port: int, tmp_path: Path
) -> None:
    process, run = container
    process.wait_for(r"serves http://127\.0\.0\.1:\d+,")
    (health,) = _arguments(FINAL, "HEALTHCHECK")
    checked = run(json.loads(health.partition(" CMD ")[2]))
    imported = run(["python", "-c", "import tams_gql; print(tams_gql.__file__)"])
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        answer = http.post("/graphql", json={"query": "{ service { name apiVersion } }"})
        page = http.get("/graphql", headers={"Accept": "text/html"})
        linked = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css))"', page.text)
        static = [http.get(path).status_code for path in linked]
    code, took = process.stop(signal.SIGTERM, 60)
    assert imported.stdout.startswith(str(image))
    assert (checked.returncode, checked.stdout.startswith("ready (")) == (0, True)
    assert answer.status_code == 200
    assert "errors" not in answer.json()
    assert answer.json()["data"]["service"]["name"] == PROGRAM
    assert page.headers["content-type"].startswith("text/html")
    assert linked
    assert set(static) == {200}
    assert (code, took < 8) == (0, True)
    assert "NO AUTHENTICATION" in process.output
    assert (tmp_path / "data" / "catalog.sqlite3").is_file()
    assert list((tmp_path / "empty").iterdir()) == []


def test_the_health_check_of_a_stopped_server_fails(container: tuple[Process, Any]) -> None:
    process, run = container
    process.close()
    (health,) = _arguments(FINAL, "HEALTHCHECK")
    assert run(json.loads(health.partition(" CMD ")[2])).returncode == 1
