"""Enumerations hold exactly the names of the specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tams_gql.model.events import EventType
from tams_gql.model.formats import ContentFormat, FlowStatus
from tests.spec import NO_SPEC, spec_dir


@pytest.fixture(scope="module")
def schemas() -> Path:
    spec = spec_dir()
    if spec is None:
        pytest.skip(NO_SPEC)
    return spec / "schemas"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_content_formats(schemas: Path) -> None:
    assert {item.value for item in ContentFormat} == set(
        read(schemas / "content-format.json")["enum"]
    )


def test_flow_statuses(schemas: Path) -> None:
    assert [item.value for item in FlowStatus] == read(schemas / "flow-status.json")["enum"]


def test_event_types(schemas: Path) -> None:
    events = read(schemas / "webhook.json")["properties"]["events"]["items"]["enum"]
    assert [item.value for item in EventType] == events
