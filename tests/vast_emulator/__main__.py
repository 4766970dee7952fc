"""``python -m tests.vast_emulator``: the emulator as a process of its own."""

from __future__ import annotations

import argparse
import signal
import threading
from dataclasses import fields
from typing import Any

from .emulator import Emulator
from .switches import Switches


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vast_emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bucket", action="append", help="may be repeated; default vastdb")
    parser.add_argument("--access-key", default="AK")
    parser.add_argument("--secret-key", default="SK")
    for item in fields(Switches):
        if item.name != "vips":
            parser.add_argument("--" + item.name.replace("_", "-"))
    parser.add_argument("--vip", action="append", help="may be repeated")
    return parser


def _switches(given: argparse.Namespace) -> dict[str, Any]:
    defaults = Switches()
    values: dict[str, Any] = {} if given.vip is None else {"vips": given.vip}
    for item in fields(Switches):
        text = getattr(given, item.name, None)
        if text is not None:
            kind = type(getattr(defaults, item.name))
            values[item.name] = text.lower() == "true" if kind is bool else kind(text)
    return values


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    given = _parser().parse_args()
    buckets = given.bucket or ["vastdb"]
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with Emulator(
        buckets[0], given.access_key, given.secret_key, given.host, given.port, **_switches(given)
    ) as emulator:
        for bucket in buckets[1:]:
            emulator.create_bucket(bucket)
        print(emulator.url, flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
