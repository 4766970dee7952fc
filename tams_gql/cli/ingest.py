"""``tams-gql ingest``: media files, HLS and generated sources into a running server."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Event
from types import FrameType
from uuid import UUID

import click
from rich.console import Console

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.codecs import Container
from tams_gql.ingest.demo import LIVE_LABEL, play_demo
from tams_gql.ingest.errors import UnusableMedia
from tams_gql.ingest.files import Outcome, ingest_file
from tams_gql.ingest.hls import ingest_hls
from tams_gql.ingest.hls_source import is_playlist
from tams_gql.ingest.ids import NAMESPACE
from tams_gql.ingest.live import DEFAULT_LABEL, LiveOptions, WallClock, mark_waiting, run_live
from tams_gql.ingest.options import DEFAULT_CONCURRENCY, DEFAULT_DURATION, IngestOptions
from tams_gql.ingest.progress import Bar, Lines, Observer, Silent
from tams_gql.ingest.transport import Cancelled, Retry, Transport, shown_url
from tams_gql.model.errors import TamsError
from tams_gql.model.time import NS, parse_timestamp

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

_LONGEST_SEGMENT = 3600
_GOODBYE_SECONDS = 1.0
_NUMBER = re.compile(r"[+-]?[0-9]{0,18}(\.[0-9]{0,18}|/[0-9]{1,18})?")


class _Seconds(click.ParamType[Fraction]):
    """A positive number of seconds, exact: 2, 2.5 or 1001/500."""

    name = "seconds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction:
        """Read the number; fails as a usage error."""
        try:
            # Of "1e999999999" a fraction would be as long as that.
            seconds = Fraction(str(value) if _NUMBER.fullmatch(str(value)) else "")
        except (ValueError, ZeroDivisionError):
            self.fail(
                f"{value!r} is not a number of seconds such as 2, 2.5 or 1001/500", param, ctx
            )
        if seconds <= 0:
            self.fail(f"{value} must be more than 0", param, ctx)
        return seconds


class _Timestamp(click.ParamType[int]):
    """A TAMS timestamp, as nanoseconds."""

    name = "timestamp"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read the timestamp; fails as a usage error."""
        if isinstance(value, int):
            return value
        try:
            return parse_timestamp(str(value), field="start")
        except TamsError as error:
            self.fail(error.message, param, ctx)


@dataclass(frozen=True, slots=True)
class _Run:
    """What was asked for."""

    inputs: tuple[str, ...]
    options: IngestOptions
    live: bool
    demo: bool
    window_ns: int | None


@click.command(context_settings={"show_default": True})
@click.argument("inputs", metavar="[FILE_OR_HLS]...", nargs=-1)
@click.option(
    "--url",
    envvar="TAMS_INGEST_URL",
    show_envvar=True,
    default="http://127.0.0.1:8000",
    help="Base URL of the server.",
)
@click.option(
    "--token",
    envvar="TAMS_INGEST_TOKEN",
    show_envvar=True,
    help="Bearer token for the server. Prefer the variable: other users can read command lines.",
)
@click.option("--label", help="Label of the programme.  [default: the file's name]")
@click.option(
    "--container",
    type=click.Choice(["ts", "fmp4"]),
    default="ts",
    help="Container of the segments: MPEG-TS or fragmented MP4. HLS segments stay as they are.",
)
@click.option(
    "--segment-duration",
    type=_Seconds(),
    default=str(DEFAULT_DURATION),
    metavar="SECONDS",
    help="Wanted length of a segment; the cuts are at key frames.",
)
@click.option(
    "--start",
    type=_Timestamp(),
    default="0:0",
    metavar="TIMESTAMP",
    help='Place of the first picture (or sound) on the timeline, as "seconds:nanoseconds".',
)
@click.option(
    "--flow-id-namespace",
    type=click.UUID,
    default=str(NAMESPACE),
    metavar="UUID",
    help="Ids of flows and sources are made from this and the content; another one gives others.",
)
@click.option("--live", is_flag=True, help="Run a generated live source until interrupted.")
@click.option(
    "--live-window",
    type=_Seconds(),
    metavar="SECONDS",
    help="Keep only this much of the live source, deleting older segments.  [default: all]",
)
@click.option(
    "--demo", is_flag=True, help="Store a generated demo programme, then run a live source."
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=DEFAULT_CONCURRENCY,
    help="Uploads at the same time.",
)
def ingest(
    inputs: tuple[str, ...],
    url: str,
    token: str | None,
    label: str | None,
    container: Container,
    segment_duration: Fraction,
    start: int,
    flow_id_namespace: UUID,
    live: bool,
    live_window: Fraction | None,
    demo: bool,
    quiet: bool,
    concurrency: int,
) -> None:
    """Load media files and HLS playlists into a server, through its API.

    Every elementary stream becomes a flow; a multi flow collects them. A second run stores only
    what is missing, so an interrupted one can simply be repeated. Several inputs are stored one
    after the other.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    if not (inputs or live or demo):
        raise click.UsageError("name a file or a playlist, or use --live or --demo")
    if live_window is not None and not (live or demo):
        raise click.UsageError("--live-window needs --live or --demo")
    if segment_duration > _LONGEST_SEGMENT:
        raise click.UsageError(f"--segment-duration is at most {_LONGEST_SEGMENT} seconds")
    options = IngestOptions(
        label=label,
        container=container,
        duration=segment_duration,
        start_ns=start,
        namespace=flow_id_namespace,
        concurrency=concurrency,
    )
    window_ns = int(live_window * NS) if live_window is not None else None
    run = _Run(inputs, options, live, demo, window_ns)
    sys.exit(_guarded(lambda stop: _run(run, url, token, quiet, stop)))


def _guarded(work: Callable[[Event], None]) -> int:
    """Do the work and return the exit code; an expected failure becomes one line."""
    stop = Event()
    with _interruptible():
        try:
            work(stop)
        except (KeyboardInterrupt, Cancelled):
            click.echo("interrupted", err=True)
            return EXIT_INTERRUPTED
        except TamsError as error:
            click.echo(f"tams-gql ingest: {' '.join(error.message.split())}", err=True)
            return EXIT_FAILED
        except OSError as error:
            click.echo(f"tams-gql ingest: {error.strerror or error}", err=True)
            return EXIT_FAILED
        finally:
            stop.set()
    return 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make SIGTERM end the run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(run: _Run, url: str, token: str | None, quiet: bool, stop: Event) -> None:
    with Transport(url, token=token, stop=stop) as transport, _observer(quiet) as observer:
        catalog = Catalog(transport)
        for text in run.inputs:
            outcome = _store(catalog, text, run.options, observer)
            observer.end(_summary(text, outcome))
        if not (run.live or run.demo):
            return
        label = LIVE_LABEL if run.demo else run.options.label
        live = LiveOptions(label or DEFAULT_LABEL, run.window_ns)
        clock = WallClock(stop)
        try:
            if run.demo:
                play_demo(catalog, run.options, observer, clock, run.window_ns)
            else:
                run_live(catalog, run.options, live, observer, clock)
        finally:
            _say_goodbye(url, token, run.options, live)


def _say_goodbye(url: str, token: str | None, options: IngestOptions, live: LiveOptions) -> None:
    """Mark the live flows as waiting; once, and not for long: the server may be gone as well."""
    with Transport(url, token=token, retry=Retry(attempts=1), timeout=_GOODBYE_SECONDS) as last:
        mark_waiting(Catalog(last), options, live)


def _store(catalog: Catalog, text: str, options: IngestOptions, observer: Observer) -> Outcome:
    try:
        if is_playlist(text):
            return ingest_hls(catalog, text, options, observer)
        return ingest_file(catalog, Path(text), options, observer)
    except UnusableMedia:
        raise  # names the input, or the part of it, itself
    except TamsError as error:
        error.message = f"{shown_url(text) if '://' in text else text}: {error.message}"
        raise


def _summary(text: str, outcome: Outcome) -> str:
    name = shown_url(text) if "://" in text else text
    flows = " ".join(outcome.flow_ids)
    return f"{name}: {outcome.stored} segments stored, {outcome.known} were there; flows {flows}"


@contextmanager
def _observer(quiet: bool) -> Iterator[Observer]:
    console = Console()
    if quiet:
        yield Silent()
    elif console.is_terminal:
        with Bar(console) as bar:
            yield bar
    else:
        yield Lines(console)
