"""``docs/settings.md`` has one row for each setting, and none for anything else."""

from __future__ import annotations

from pathlib import Path

from tams_gql.settings import Settings
from tams_gql.settings_sources import CONFIG_FILE, allowed, default, env_name, unit

DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"


def _rows(text: str) -> dict[str, list[str]]:
    """Return the cells of every table row that begins with a setting, by its name."""
    rows: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| `TAMS_"):
            name, *cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            assert name not in rows, f"{name} has two rows"
            rows[name.strip("` ")] = cells
    return rows


def _row(name: str) -> list[str]:
    info = Settings.model_fields[name]
    assert info.description
    return [f"`{default(info)}`", unit(info), allowed(info), info.description]


def test_the_table_and_the_model_are_equal() -> None:
    wanted = {env_name(name): _row(name) for name in Settings.model_fields}
    assert _rows(DOCUMENT.read_text(encoding="utf-8")) == wanted


def test_the_variables_that_are_no_settings_are_explained() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"`{CONFIG_FILE}`" in text
    assert "`TAMS_INGEST_URL`" in text
