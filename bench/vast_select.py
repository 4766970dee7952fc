"""What a select costs this process: the SDK used three ways, side by side.

    python -m bench.vast_select [--rounds N] [--rows N] [--flows N]...

An emulated cluster runs in a process of its own, so that only the client's processor time counts.
*naive* is what the SDK's examples show: a transaction, the table looked up, a select. *plain* is
the SDK's select with everything about the table known, in a transaction that is open already.
*ours* is what the store does: the same queries, encoded directly and sent over pooled connections.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import click
import ibis
import vastdb

from tams_gql.store.scan import Op, compare, eq, is_in
from tams_gql.store.tables import SEGMENTS
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import Physical, physical_of, rows_to_batch
from tams_gql.store.vast.schema import migrate
from tams_gql.store.vast.wire.client import Tx, VastClient
from tams_gql.store.vast.wire.domains import Asked
from tests.vast_emulator import RemoteEmulator, emulator_process

_TABLE = physical_of(SEGMENTS)
_COLUMNS = tuple(_TABLE.schema.names)
_SECOND = 1_000_000_000


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--rounds", default=100, show_default=True, help="Selects of each kind.")
@click.option("--rows", default=20_000, show_default=True, help="Segments in the table.")
@click.option("--flows", default=[1, 10, 100, 300], multiple=True, help="Ids asked for at once.")
def main(rounds: int, rows: int, flows: tuple[int, ...]) -> None:
    """Measure and print a table."""
    logging.getLogger("vastdb").setLevel(logging.CRITICAL)
    with emulator_process() as emulator:
        config = VastConfig((emulator.url,), "AK", "SK", "vastdb")
        with (
            closing(VastClient(config)) as client,
            closing(VastClient(replace(config, plain_queries=True))) as plain,
        ):
            migrate(client)
            ids = _fill(client, rows)
            measured = [_measure(emulator, client, plain, ids[:n], rounds) for n in flows]
    head = ["flows", "rows", "way", "CPU ms", "wall ms", "calls", "connections"]
    for line in (head, *(line for lines in measured for line in lines)):
        cells = zip(line, head, strict=True)
        click.echo("".join(cell.rjust(max(9, len(name) + 2)) for cell, name in cells))


def _fill(client: VastClient, rows: int) -> list[str]:
    """Segments of two seconds, evenly spread over flows; the ids of the flows."""
    ids = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(400)]
    columns = ("flow_id", "start_ns", "end_ns", "id", "object_id", "timerange", "size", "created")
    values = []
    for i in range(rows):
        flow, at = ids[i % len(ids)], 2 * (i // len(ids))
        text = f"[{at}:0_{at + 2}:0)"
        start, end = at * _SECOND, (at + 2) * _SECOND
        values.append((flow, start, end, f"s{i}", f"o{i}", text, 1_000_000, i))
    tx = client.begin()
    tx.insert(_TABLE, rows_to_batch(_TABLE, columns, values))
    tx.commit()
    return ids


def _measure(
    emulator: RemoteEmulator, client: VastClient, plain: VastClient, ids: list[str], rounds: int
) -> list[list[str]]:
    first, last = 20 * _SECOND, 40 * _SECOND
    flows = eq("flow_id", ids[0]) if len(ids) == 1 else is_in("flow_id", ids)
    where = [flows, compare("start_ns", Op.LT, last), compare("end_ns", Op.GT, first)]
    keys = client.config.access_key, client.config.secret_key
    session = vastdb.connect(*keys, emulator.url, timeout=30)
    column = ibis._
    predicate = column.flow_id.isin(ids) & (column.start_ns < last) & (column.end_ns > first)

    def naive() -> int:
        with session.transaction() as tx:
            found = tx.bucket("vastdb").schema("tams").table(_TABLE.name)
            return int(found.select(list(_COLUMNS), predicate).read_all().num_rows)

    ways: list[tuple[str, Callable[[], int]]] = [
        ("naive", naive),
        ("plain", _in_transaction(plain.begin(), _TABLE, where)),
        ("ours", _in_transaction(client.begin(), _TABLE, where)),
    ]
    return [_timed(emulator, name, select, len(ids), rounds) for name, select in ways]


def _in_transaction(tx: Tx, table: Physical, where: list[Asked]) -> Callable[[], int]:
    return lambda: int(tx.select(table, _COLUMNS, where).num_rows)


def _timed(
    emulator: RemoteEmulator, name: str, select: Callable[[], int], flows: int, rounds: int
) -> list[str]:
    found = {select() for _ in range(min(5, rounds))}
    with emulator.counting() as log:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(rounds):
            found.add(select())
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    (rows,) = found
    calls, connections = sum(log.counts.values()) / rounds, log.connections / rounds
    times = (f"{1000 * seconds / rounds:.2f}" for seconds in (cpu, wall))
    return [str(flows), str(rows), name, *times, f"{calls:g}", f"{connections:g}"]


if __name__ == "__main__":
    main()
