"""Who may import whom, read from the imports of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("tams_gql", "rest_compat")
MAX_LINES = 500

LAYERS: tuple[tuple[str, ...], ...] = (
    ("model",),
    ("store", "media"),
    ("loaders", "events"),
    ("context",),
    ("resolvers",),
    ("schema", "http", "rest_compat"),
    ("store_choice", "media_choice"),
    ("opening",),
    ("app",),
    ("cli",),
)
"""From the bottom to the top. A part may import what is below it, but nothing beside it."""

EVERYONE = frozenset({"__init__", "logs", "bounded_cache", "metrics", "row_queues"})
"""Parts that import nothing of ours and may be imported by all."""

CLIENT = "ingest"
"""Speaks to the public API alone, so of ours it knows only the model."""

SETTINGS = frozenset({"settings", "settings_media", "settings_sources", "settings_store"})
"""Others get plain values."""

DOORS: Mapping[str, tuple[str, ...]] = {
    "aiobotocore": ("tams_gql.media.s3",),
    "botocore": ("tams_gql.media.s3",),
    "aiohttp": ("tams_gql.media.s3", "tams_gql.media.external"),
    "aiodataloader": ("tams_gql.loaders",),
    "annotated_types": ("tams_gql.settings_sources",),
    "anyio": ("tams_gql.http", "tams_gql.media"),
    "av": ("tams_gql.ingest",),
    "click": ("tams_gql.cli",),
    "crcmod": ("tams_gql.media._checksums",),
    "cryptography": ("tams_gql.media.cdn",),
    "flatbuffers": ("tams_gql.store.vast",),
    "graphql": ("tams_gql.schema",),
    "httpx": ("tams_gql.ingest",),
    "ibis": ("tams_gql.store.vast",),
    "numpy": ("tams_gql.ingest", "tams_gql.store"),
    "opentelemetry": ("tams_gql.app", "tams_gql.http", "tams_gql.telemetry"),
    "orjson": ("tams_gql",),
    "prometheus_client": ("tams_gql.http.metrics",),
    "pyarrow": ("tams_gql.store", "tams_gql.loaders", "tams_gql.events"),
    "pydantic": (
        "tams_gql.media.cdn.config",
        "tams_gql.media.s3.config",
        "tams_gql.model",
        "tams_gql.settings",
        "tams_gql.settings_media",
        "tams_gql.settings_sources",
        "tams_gql.settings_store",
        "tams_gql.cli.options",
    ),
    "pydantic_core": ("tams_gql.model", "tams_gql.settings_sources"),
    "pydantic_settings": (
        "tams_gql.settings",
        "tams_gql.settings_media",
        "tams_gql.settings_sources",
        "tams_gql.settings_store",
    ),
    "multidict": ("tams_gql.media.external",),
    "rich": ("tams_gql.ingest", "tams_gql.cli"),
    "starlette": ("tams_gql.app", "tams_gql.http", "rest_compat", "tams_gql.cli.serve"),
    "strawberry": ("tams_gql.schema", "tams_gql.app"),
    "urllib3": ("tams_gql.store.vast",),
    "uvicorn": ("tams_gql.cli.serve",),
    "vastdb": ("tams_gql.store.vast",),
    "yarl": ("tams_gql.media.external",),
    "websockets": ("tams_gql.ingest",),
}
"""For each third party the modules, or packages, that may import it."""

HEAVY = (
    *("vastdb", "ibis", "aiobotocore", "botocore", "aiohttp", "cryptography", "crcmod"),
    *("av", "httpx", "rich", "click", "uvicorn"),
)
"""What a server that does not need it must not pay for."""


def _modules() -> dict[str, Path]:
    """All modules of the product by name; a package has the name of its ``__init__``."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


MODULES = _modules()


def _imported(path: Path) -> Iterator[str]:
    """The full names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _part(name: str) -> str:
    """The layer's part that a module, or something in it, belongs to."""
    package, _, rest = name.partition(".")
    if package == "rest_compat":
        return package
    part = rest.partition(".")[0]
    # Names of the package itself, such as the version, are in its __init__.
    known = {module.split(".")[1] for module in MODULES if module.startswith("tams_gql.")}
    return part if part in known else "__init__"


def _edges() -> Iterator[tuple[str, str]]:
    """Each module with each other part of ours that it imports."""
    for module, path in MODULES.items():
        for name in _imported(path):
            if name.partition(".")[0] in PACKAGES and _part(name) != _part(module):
                yield module, _part(name)


RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}


def _is_allowed(module: str, imported: str) -> bool:
    part = _part(module)
    if imported in EVERYONE:
        return True
    if part in EVERYONE:
        return False
    if imported in SETTINGS:
        return part in SETTINGS or part in ("cli", "app", "store_choice", "media_choice", "opening")
    if part in SETTINGS:
        return (part, imported) == ("settings_media", "media")
    if part == "__main__":
        return imported == "cli"
    if part == CLIENT:
        return imported == "model"
    if imported == CLIENT:
        return part == "cli"
    return RANK[imported] < RANK[part]


def test_every_part_has_its_layer() -> None:
    others = EVERYONE | SETTINGS | {CLIENT, "__main__"}
    assert {_part(module) for module in MODULES} - others == set(RANK)


def test_imports_point_downwards() -> None:
    wrong = sorted({edge for edge in _edges() if not _is_allowed(*edge)})
    assert wrong == []


def test_every_third_party_has_its_door() -> None:
    wrong = []
    for module, path in MODULES.items():
        for name in _imported(path):
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names or top in PACKAGES:
                continue
            doors = DOORS.get(top, ())
            if not any(module == door or module.startswith(f"{door}.") for door in doors):
                wrong.append((module, top))
    assert sorted(set(wrong)) == []


def test_nobody_draws_from_the_generator_that_others_seed() -> None:
    """See ``tams_gql.model.jitter``; property tests watch that generator, too."""
    users = [
        module
        for module, path in MODULES.items()
        if "random" in {name.partition(".")[0] for name in _imported(path)}
    ]
    assert users == ["tams_gql.model.jitter"]


def test_no_module_is_long() -> None:
    lines = {
        module: len(path.read_text(encoding="utf-8").splitlines())
        for module, path in MODULES.items()
    }
    assert {module: count for module, count in lines.items() if count > MAX_LINES} == {}


def test_modules_are_named_after_what_is_in_them() -> None:
    vague = {"utils", "util", "common", "helpers", "misc", "base"}
    assert [module for module in MODULES if vague & set(module.split("."))] == []


@pytest.mark.parametrize("module", ["tams_gql.app", "tams_gql.schema", "tams_gql.store.embedded"])
def test_a_server_imports_only_what_it_needs(module: str) -> None:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert set(done.stdout.split()).isdisjoint(HEAVY)
