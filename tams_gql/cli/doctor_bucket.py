"""Do the storage backends hold bytes that the catalog does not know of? Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from tams_gql.model.errors import TamsError
from tams_gql.settings import Settings
from tams_gql.store.findings import Finding, Status

if TYPE_CHECKING:
    from tams_gql.resolvers.unknown_bytes import UnknownBytes

_SHOWN = 5


def scan_buckets(settings: Settings) -> Iterator[Finding]:
    """Go through all storage backends, one finding each. Blocks, for long if they are large."""
    from tams_gql.store_choice import versions

    try:
        found, needed = versions(settings)
        if found != needed:  # opening it would make or upgrade it
            text = f"the catalog has schema version {found or 'none'}"
            yield Finding("stored bytes", Status.SKIPPED, text, "run `tams-gql migrate` first")
            return
        reports = asyncio.run(_scan(settings))
    except (TamsError, OSError) as refused:
        yield Finding("stored bytes", Status.FAILED, f"could not be gone through: {refused}")
        return
    for report in reports:
        check, facts = f"stored bytes in {report.label}", asdict(report)
        listed = f"{report.listed:,} objects"
        if not report.objects:
            yield Finding(check, Status.OK, f"{listed}, all known", "", facts)
            continue
        text = f"{listed}, of which the catalog does not know {report.objects:,}"
        text += f" of {report.bytes:,} bytes: {', '.join(report.keys[:_SHOWN])}"
        advice = "they cost space only; remove them if nothing else uses the place"
        yield Finding(check, Status.WARNING, text, advice, facts)


async def _scan(settings: Settings) -> list[UnknownBytes]:
    from tams_gql.opening import open_services
    from tams_gql.resolvers.unknown_bytes import unknown_bytes

    async with open_services(settings) as services:
        return await unknown_bytes(services)
