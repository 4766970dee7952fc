"""``python -m bench.presign``: what a presigned URL costs, beside botocore and aiobotocore.

All sign the same keys for the same bucket in one run, a round of each after the other, so that
what else the machine does falls on all of them. The figure is the median of the rounds; before
measuring, the URLs are compared.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import botocore.session
import click
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.config import Config

from tams_gql.media.s3.signing import Credentials, Presigner, Terms

BUCKET, REGION, EXPIRES_IN = "media", "eu-west-2", 3_600
NOW = 1_780_000_000
CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
_OPTIONS: dict[str, Any] = {
    "signature_version": "s3v4",
    "s3": {"addressing_style": "virtual"},
    "request_checksum_calculation": "when_required",
}
_CLIENT: dict[str, Any] = {
    "region_name": REGION,
    "aws_access_key_id": CREDENTIALS.access_key_id,
    "aws_secret_access_key": CREDENTIALS.secret_access_key,
}

Sign = Callable[[list[str]], list[str]]


@click.command()
@click.option("--keys", "count", default=1_000, show_default=True, help="URLs of one page.")
@click.option("--rounds", default=15, show_default=True)
def main(count: int, rounds: int) -> None:
    """Measure the CPU time of a presigned GET URL."""
    keys = [f"2026/01/31/23/846023d3-612d-5014-bc47-{n:012x}" for n in range(count)]
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        ways = {
            "botocore": _botocore(),
            "aiobotocore": _aiobotocore(runner, stack),
            "tams_gql, one by one": _ours(one_by_one=True),
            "tams_gql, a page": _ours(one_by_one=False),
        }
        _compare(ways, keys[:20])
        costs = _measure(ways, keys, rounds)
        runner.run(stack.aclose())
    for name, cost in costs.items():
        ratio = costs["botocore"] / cost
        click.echo(f"{name:<22}{cost * 1e6:9.2f} µs a URL   botocore / this: {ratio:6.1f}")


def _measure(ways: dict[str, Sign], keys: list[str], rounds: int) -> dict[str, float]:
    """Median seconds of CPU for a URL, by way."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, sign in ways.items():
            start = time.process_time()
            sign(keys)
            taken[name].append((time.process_time() - start) / len(keys))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _compare(ways: dict[str, Sign], keys: list[str]) -> None:
    with mock.patch("time.time", return_value=float(NOW)), _frozen():
        made = {name: sign(keys) for name, sign in ways.items()}
    different = [name for name, urls in made.items() if urls != made["botocore"]]
    if different:
        raise click.ClickException(f"other URLs than botocore's: {', '.join(different)}")


def _frozen() -> Any:
    now = datetime.fromtimestamp(NOW, UTC)
    return mock.patch("botocore.auth.get_current_datetime", return_value=now)


def _botocore() -> Sign:
    client = botocore.session.Session().create_client("s3", config=Config(**_OPTIONS), **_CLIENT)

    def sign(keys: list[str]) -> list[str]:
        return [
            client.generate_presigned_url(
                "get_object", {"Bucket": BUCKET, "Key": key}, ExpiresIn=EXPIRES_IN
            )
            for key in keys
        ]

    return sign


def _aiobotocore(runner: asyncio.Runner, stack: AsyncExitStack) -> Sign:
    context = AioSession().create_client("s3", config=AioConfig(**_OPTIONS), **_CLIENT)
    client = runner.run(stack.enter_async_context(context))

    async def page(keys: list[str]) -> list[str]:
        return [
            await client.generate_presigned_url(
                "get_object", {"Bucket": BUCKET, "Key": key}, ExpiresIn=EXPIRES_IN
            )
            for key in keys
        ]

    return lambda keys: runner.run(page(keys))


def _ours(*, one_by_one: bool) -> Sign:
    base = urlsplit(_botocore()(["k"])[0])
    signer = Presigner(f"{base.scheme}://{base.netloc}/", REGION)

    def page(keys: list[str]) -> list[str]:
        return signer.urls(keys, Terms("GET", int(time.time()), EXPIRES_IN), CREDENTIALS)

    return (lambda keys: [page([key])[0] for key in keys]) if one_by_one else page


if __name__ == "__main__":
    main()
