"""The background work of a server."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tams_gql.context import Services
from tams_gql.resolvers.worker import Duties
from tests.catalog import quick_settings, running
from tests.waiting import until


async def test_work_that_breaks_off_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failure = RuntimeError("a defect")

    async def broken(services: Services, duties: Duties) -> None:
        raise failure

    monkeypatch.setattr("tams_gql.app.keep_working", broken)
    async with running(quick_settings(tmp_path, background_work=True)):
        await until(lambda: len(caplog.records) > 0)
        (record,) = caplog.records
    assert (record.name, record.levelno) == ("tams_gql.app", logging.ERROR)
    assert record.getMessage() == "the background work broke off"
    assert record.exc_info is not None
    assert record.exc_info[1] is failure


async def test_work_that_is_stopped_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(quick_settings(tmp_path, background_work=True)):
        pass
    assert caplog.records == []
