"""``tams-gql doctor``: is everything that the settings name there, and does it work?"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import click
import orjson

from tams_gql.cli.options import EXIT_SETTINGS, settings_options, settings_or_exit
from tams_gql.settings import Settings
from tams_gql.store.findings import Finding, Status

if TYPE_CHECKING:
    from tams_gql.store.vast.probing.probe import Advice, Answer

_COLOURS = {
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.FAILED: "red",
    Status.SKIPPED: "cyan",
}


@dataclass
class _Report:
    """What came out, and whether it is printed as it comes or as one JSON object at the end."""

    place: str
    as_json: bool
    findings: list[Finding] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    advice: Advice | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing failed."""
        failed = any(finding.status is Status.FAILED for finding in self.findings)
        return not failed and not (self.advice and self.advice.unfit)

    def say(self, text: str) -> None:
        """Print text that is not for machines."""
        if not self.as_json:
            click.echo(text)


@click.command()
@click.option(
    "--probe",
    "probing",
    is_flag=True,
    help="Also find out how the VAST cluster's transactions behave; takes some seconds.",
)
@click.option(
    "--probe-expiry",
    metavar="SECONDS",
    type=click.IntRange(1, 86_400),
    help="With --probe: also find out, by waiting so long, whether a transaction may be idle and"
    " whether rows keep their ids when a table is sorted.",
)
@click.option(
    "--scan-bucket",
    "scanning",
    is_flag=True,
    help="Also look for stored bytes that the catalog does not know of; lists everything stored.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
def doctor(
    probing: bool, probe_expiry: int | None, scanning: bool, as_json: bool, **options: object
) -> None:
    """Check the catalog store and the storage backends of the settings.

    What it writes it removes again. Exit codes: 0 all well, 1 a check failed, 2 wrong settings.
    """
    settings = settings_or_exit(options)
    if (probing or probe_expiry) and settings.store != "vast":
        click.echo("tams-gql: --probe is for TAMS_STORE=vast only", err=True)
        sys.exit(EXIT_SETTINGS)
    report = _Report(settings.catalog_place, as_json)
    report.say(f"Catalog: {report.place}")
    _check(settings, report)
    if scanning and report.sound:
        _scan(settings, report)
    if probing and report.sound:
        _probe(settings, report, probe_expiry or 0)
    _end(report)
    sys.exit(0 if report.sound else 1)


def _check(settings: Settings, report: _Report) -> None:
    from tams_gql.cli.doctor_media import examine_media
    from tams_gql.cli.doctor_s3 import examine_s3
    from tams_gql.store_choice import examine

    folder = examine_media(settings.media_dir) if settings.local_media else ()
    for findings in (examine(settings), folder, examine_s3(settings)):
        for finding in findings:
            report.findings.append(finding)
            report.say(_line(finding))


def _scan(settings: Settings, report: _Report) -> None:
    from tams_gql.cli.doctor_bucket import scan_buckets

    for finding in scan_buckets(settings):
        report.findings.append(finding)
        report.say(_line(finding))


def _line(finding: Finding) -> str:
    status = click.style(f"{finding.status:<8}", fg=_COLOURS[finding.status])
    line = f"  {status} {finding.check}: {finding.text}"
    return f"{line}\n           {finding.advice}" if finding.advice else line


def _probe(settings: Settings, report: _Report, expiry_seconds: int) -> None:
    from tams_gql.store.vast.probing.probe import advise, probe
    from tams_gql.store.vast.probing.probe_door import NoAnswer, Refused
    from tams_gql.store_choice import vast_config

    report.say("Probe of the cluster:")
    try:
        for answer in probe(vast_config(settings), expiry_seconds=expiry_seconds):
            report.answers.append(answer)
            report.say(f"  {answer.question:<38} {answer.answer:<16} {answer.text}")
    except (NoAnswer, Refused) as refused:
        finding = Finding("probe", Status.FAILED, f"broken off: {refused}")
        report.findings.append(finding)
        report.say(_line(finding))
        return
    report.advice = advise(report.answers)
    report.say("Recommended settings:")
    for name, value in report.advice.settings.items():
        report.say(f"  {name}={value}")
    for note in report.advice.notes:
        report.say(f"  note: {note}")
    for reason in report.advice.unfit:
        report.say(click.style(f"  NOT FIT for the catalog: {reason}", fg="red"))


def _end(report: _Report) -> None:
    if report.as_json:
        advice = report.advice
        document = {
            "ok": report.sound,
            "catalog": report.place,
            "checks": [asdict(finding) for finding in report.findings],
            "probe": [asdict(answer) for answer in report.answers],
            "settings": {} if advice is None else advice.settings,
            "notes": [] if advice is None else advice.notes,
            "unfit": [] if advice is None else advice.unfit,
        }
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    counts = Counter(finding.status for finding in report.findings)
    parts = [f"{counts[status]} {status}" for status in Status if counts[status]]
    click.echo(f"{len(report.findings)} checks: {', '.join(parts)}")
