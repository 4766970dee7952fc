"""Log lines as text and as JSON: ids, one line for each record, and no secrets."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Literal

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from tams_gql.logs import FIELDS, configure_logs, request_id

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

Configure = Callable[..., io.StringIO]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Configure the logs to write into a buffer; afterwards everything is as it was."""
    root = logging.getLogger()
    names = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
    saved = {name: (log.level, log.propagate) for name in names if (log := logging.getLogger(name))}
    handlers, level = root.handlers[:], root.level
    # Not closed: they belong to pytest.
    root.handlers.clear()

    def run(form: Literal["text", "json"] = "text", level: str = "info") -> io.StringIO:
        stream = io.StringIO()
        configure_logs(level, form, stream)
        return stream

    yield run
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, (old_level, propagate) in saved.items():
        logging.getLogger(name).setLevel(old_level)
        logging.getLogger(name).propagate = propagate


@pytest.fixture
def in_request() -> Iterator[None]:
    token = request_id.set("edit-42")
    yield
    request_id.reset(token)


@pytest.mark.usefixtures("in_request")
def test_a_text_line_has_time_level_logger_message_and_id(configure: Configure) -> None:
    out = configure()
    logging.getLogger("tams_gql.store").warning("%d rows", 3)
    assert re.fullmatch(rf"{TIME} WARNING tams_gql\.store 3 rows \[edit-42\]\n", out.getvalue())


def test_a_text_line_outside_a_request_has_no_id(configure: Configure) -> None:
    out = configure()
    logging.getLogger("tams_gql").info("started")
    assert re.fullmatch(rf"{TIME} INFO tams_gql started\n", out.getvalue())


@pytest.mark.usefixtures("in_request")
def test_a_json_line_has_the_same_and_the_fields_of_the_record(configure: Configure) -> None:
    out = configure("json")
    fields = {"path": "/graphql", "status": 200, "ms": 1.5}
    logging.getLogger("tams_gql.access").info("GET %s", "/graphql", extra={FIELDS: fields})
    line = orjson.loads(out.getvalue())
    assert re.fullmatch(TIME, line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "tams_gql.access",
        "message": "GET /graphql",
        "request_id": "edit-42",
        **fields,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_trace_id_is_there_while_a_span_is_open(configure: Configure, form: str) -> None:
    out = configure(form)
    context = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False)
    with trace.use_span(NonRecordingSpan(context)):
        logging.getLogger("tams_gql").info("inside")
    logging.getLogger("tams_gql").info("outside")
    inside, outside = out.getvalue().splitlines()
    assert "00000000000000000000000000000abc" in inside
    assert "abc" not in outside


def test_only_the_asked_level_and_above_is_written(configure: Configure) -> None:
    out = configure(level="warning")
    logging.getLogger("tams_gql").info("no")
    logging.getLogger("tams_gql").error("yes")
    assert re.fullmatch(rf"{TIME} ERROR tams_gql yes\n", out.getvalue())


def test_configuring_again_replaces_the_first(configure: Configure) -> None:
    first, second = configure(), configure("json")
    logging.getLogger("tams_gql").info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


def _fail() -> None:
    raise RuntimeError("GET http://host/media?signature=s3cret\n2026-01-01 INFO forged line")


def test_a_traceback_is_indented_in_text_so_that_it_cannot_forge_a_record(
    configure: Configure,
) -> None:
    out = configure()
    try:
        _fail()
    except RuntimeError:
        logging.getLogger("tams_gql").exception("unexpected error")
    head, *trace_lines = out.getvalue().splitlines()
    assert head.endswith("ERROR tams_gql unexpected error")
    assert trace_lines[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in trace_lines)
    assert "s3cret" not in out.getvalue()


def test_a_traceback_is_one_field_in_json(configure: Configure) -> None:
    out = configure("json")
    try:
        _fail()
    except RuntimeError:
        logging.getLogger("tams_gql").exception("unexpected error")
    line = orjson.loads(out.getvalue())
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert "http://host/media?[removed]" in line["exception"]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("GET /media/a?expires=1&signature=abc 200", "GET /media/a?[removed] 200"),
        ("https://h/p?X-Amz-Signature=abc", "https://h/p?[removed]"),
        ("Authorization: Bearer abc.def-ghi_jkl", "Authorization: Bearer [removed]"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic [removed]"),
        ("is it ready? yes=no", "is it ready? yes=no"),
    ],
)
def test_what_could_be_a_credential_is_cut_out(
    configure: Configure, form: str, message: str, written: str
) -> None:
    out = configure(form)
    logging.getLogger("tams_gql").info("%s", message)
    assert written in out.getvalue()
    assert not re.search("abc|dXNlcjpwYXNz", out.getvalue())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=st.text(st.characters(exclude_categories=())))
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_message_is_always_exactly_one_line(
    configure: Configure, form: str, message: str
) -> None:
    out = configure(form)
    logging.getLogger("tams_gql").info("%s", message)
    written = out.getvalue()
    # JSON lines are split at line feeds alone, text also by what else a terminal breaks at.
    assert len(written.splitlines() if form == "text" else written.split("\n")[:-1]) == 1


def test_uvicorns_own_lines_about_connections_are_left_out(configure: Configure) -> None:
    out = configure(level="debug")
    logging.getLogger("uvicorn.error").info('"WebSocket /graphql?token=s3cret" [accepted]')
    logging.getLogger("uvicorn.access").critical("GET /graphql?token=s3cret")
    logging.getLogger("uvicorn.error").error("cannot bind")
    assert re.fullmatch(rf"{TIME} ERROR uvicorn\.error cannot bind\n", out.getvalue())


def test_a_request_cut_off_by_the_shutdown_leaves_no_traceback(configure: Configure) -> None:
    out = configure()
    for cause in (asyncio.CancelledError("grace"), RuntimeError("a defect")):
        logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=cause)
    assert "CancelledError" not in out.getvalue()
    assert "RuntimeError: a defect" in out.getvalue()


def test_warnings_become_records(configure: Configure) -> None:
    out = configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old way", UserWarning, stacklevel=1)
    assert "WARNING py.warnings" in out.getvalue()
    assert "old way" in out.getvalue()
