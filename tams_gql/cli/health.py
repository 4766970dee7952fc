"""``tams-gql health``: ask ``/readyz``, for containers and scripts without curl."""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple

import click
import orjson

from tams_gql.cli.options import EXIT_SETTINGS, settings_options, settings_or_exit
from tams_gql.settings import Settings

_ANSWER_SECONDS = 5.0  # a check of the server may take 2
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (compared, not bound)


class Readiness(NamedTuple):
    """What ``/readyz`` said, in words."""

    ready: bool
    text: str


@click.command()
@settings_options
def health(**options: object) -> None:
    """Ask the server at the configured host and port whether it is ready.

    Exit codes: 0 ready, 1 not ready or no answer, 2 wrong settings.
    """
    settings = settings_or_exit(options)
    if settings.port == 0:
        click.echo("tams-gql: port 0 means any port; say which one to ask with --port", err=True)
        sys.exit(EXIT_SETTINGS)
    answer = ask_readiness(settings)
    click.echo(answer.text, err=not answer.ready)
    sys.exit(0 if answer.ready else 1)


def ask_readiness(settings: Settings) -> Readiness:
    """Ask ``/readyz`` once, for at most 5 s. Blocks: call it from a thread inside the server."""
    host = _reachable(settings)
    # Not urllib: it would send the question to a proxy that the environment names.
    connection = HTTPConnection(host, settings.port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = orjson.loads(response.read(65_536))
        checks = {name: check["status"] for name, check in body["checks"].items()}
        ready = response.status == 200
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError) as refused:
        return Readiness(False, f"no answer from {host}:{settings.port}: {refused}")
    finally:
        connection.close()
    details = ", ".join(f"{name}: {status}" for name, status in checks.items())
    return Readiness(ready, f"{body['status']} ({details})")


def local_url(settings: Settings) -> str:
    """The server's address for a client on the same machine, whatever its public URL."""
    host = _reachable(settings)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _reachable(settings: Settings) -> str:
    return _LOOPBACK.get(settings.host, settings.host)
