"""Can the catalog be kept on this cluster, with these settings? Asked by doing it.

What is written is written to throw-away tables and removed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

from tams_gql.model.errors import TamsError
from tams_gql.store.findings import Finding, Status
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import PHYSICAL, ROW_ID, Physical
from tams_gql.store.vast.probing.probe_door import Door, NoAnswer, Refused, shown
from tams_gql.store.vast.probing.probe_place import schema_of_probe, table_in
from tams_gql.store.vast.probing.probe_references import references
from tams_gql.store.vast.probing.probe_timing import ROUNDS, latencies
from tams_gql.store.vast.schema import check
from tams_gql.store.vast.wire.client import VastClient

_FORBIDDEN = 403
_NOT_FOUND = 404
# Requests are signed with the time; a quarter of an hour is what signatures usually allow.
_CLOCKS_APART_SECONDS = 300.0
_CLOCKS_DIFFER_SECONDS = 5.0
_SLOW_MILLISECONDS = 50.0


def examine(config: VastConfig) -> Iterator[Finding]:
    """Check the cluster, one finding at a time; what depends on a failed check is left out."""
    with ExitStack() as stack:
        doors: list[Door] = []
        for endpoint in config.endpoints:
            finding, door = _endpoint(config, endpoint)
            yield finding
            if door is not None:
                stack.callback(door.close)
                doors.append(door)
        if not doors:
            return
        credentials = _credentials(doors[0])
        yield credentials
        if credentials.status is Status.FAILED:
            return
        yield _clock(doors[0])
        bucket = _bucket(doors[0])
        yield bucket
        if bucket.status is Status.FAILED:
            return
        yield from _work(config, doors[0])
        yield from _catalog(config, doors[0])


def _endpoint(config: VastConfig, endpoint: str) -> tuple[Finding, Door | None]:
    name = f"endpoint {shown(endpoint)}"
    try:
        door = Door(config, endpoint)
    except Refused as refused:
        if refused.status == _FORBIDDEN:
            return _refused_keys(name), None
        return Finding(name, Status.FAILED, f"refuses connections: {refused}"), None
    except NoAnswer as failed:
        advice = "correct or remove it in TAMS_VAST_ENDPOINTS, or repair the network"
        return Finding(name, Status.FAILED, f"does not answer: {failed}", advice), None
    facts = {"version": door.version}
    return Finding(name, Status.OK, f"VAST {door.version}", "", facts), door


def _refused_keys(name: str) -> Finding:
    return Finding(
        name,
        Status.FAILED,
        "the keys are refused (403)",
        "check TAMS_VAST_ACCESS_KEY and TAMS_VAST_SECRET_KEY, and the user's identity policy",
    )


def _credentials(door: Door) -> Finding:
    try:
        with door.begin():
            pass
    except Refused as refused:
        if refused.status == _FORBIDDEN:
            return _refused_keys("credentials")
        return Finding("credentials", Status.FAILED, f"no transaction can be begun: {refused}")
    except NoAnswer as failed:
        return Finding("credentials", Status.FAILED, f"no transaction can be begun: {failed}")
    return Finding("credentials", Status.OK, "transactions can be begun")


def _clock(door: Door) -> Finding:
    ahead = door.clock_ahead_seconds
    facts = {"cluster_ahead_seconds": round(ahead, 1)}
    if abs(ahead) < 1:
        return Finding("clock", Status.OK, "agrees with the cluster's to the second", "", facts)
    text = f"the cluster's is {abs(ahead):.0f} seconds {'ahead' if ahead > 0 else 'behind'}"
    advice = "keep both in time with NTP"
    if abs(ahead) >= _CLOCKS_APART_SECONDS:
        return Finding("clock", Status.FAILED, text, advice, facts)
    status = Status.WARNING if abs(ahead) >= _CLOCKS_DIFFER_SECONDS else Status.OK
    return Finding("clock", status, text, advice if status is Status.WARNING else "", facts)


def _bucket(door: Door) -> Finding:
    try:
        door.head_bucket()
    except Refused as refused:
        if refused.status == _NOT_FOUND:
            advice = "make a database bucket of this name, or correct TAMS_VAST_BUCKET"
            text = f"there is no bucket {door.bucket}"
            return Finding("bucket", Status.FAILED, text, advice)
        advice = "let the user's identity policy allow the bucket"
        return Finding("bucket", Status.FAILED, f"{door.bucket}: {refused}", advice)
    except NoAnswer as failed:
        return Finding("bucket", Status.FAILED, f"{door.bucket}: {failed}")
    return Finding("bucket", Status.OK, door.bucket)


def _work(config: VastConfig, door: Door) -> Iterator[Finding]:
    """Permissions and times, on a throw-away table."""
    try:
        with ExitStack() as stack:
            schema = stack.enter_context(schema_of_probe(config, door.endpoint))
            place = stack.enter_context(closing(Door(config, door.endpoint, schema)))
            table = stack.enter_context(table_in(place))
            permissions = _permissions(place, table)
            yield permissions
            if permissions.status is Status.OK:
                yield _latency(place, table)
    except Refused as refused:
        text = f"no table can be made: {refused}"
        yield Finding("permissions", Status.FAILED, text, _POLICY)
    except NoAnswer as failed:
        yield Finding("permissions", Status.FAILED, f"the cluster stopped answering: {failed}")


_POLICY = "let the user's identity policy allow schemas, tables and rows of the bucket"


def _permissions(door: Door, table: Physical) -> Finding:
    refusals: dict[str, str] = {}

    def tried(what: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Refused as refused:
            refusals[what] = str(refused)

    with door.begin() as party:
        tried("insert", lambda: party.insert(table, [{"name": "x", "one": 0, "two": 0}]))
        rows: list[dict[str, object]] = []
        tried("select", lambda: rows.extend(party.select(table, ("name",), row_ids=True)))
        if rows:
            row_id = int(str(rows[0][ROW_ID]))
            tried("update", lambda: party.update(table, row_id, one=1))
            tried("delete", lambda: party.delete(table, row_id))
        tried("commit", party.commit)
    facts = {"refused": refusals}
    if refusals:
        text = "; ".join(f"{what} is refused ({why})" for what, why in refusals.items())
        return Finding("permissions", Status.FAILED, text, _POLICY, facts)
    text = "tables can be made, written, read and dropped"
    return Finding("permissions", Status.OK, text, "", facts)


def _latency(door: Door, table: Physical) -> Finding:
    measured = latencies(door, table)
    text = ", ".join(
        f"{one.call} {one.median:.1f}/{one.p95:.1f}/{one.longest:.1f}" for one in measured
    )
    facts = {
        one.call: {
            "median_ms": round(one.median, 2),
            "p95_ms": round(one.p95, 2),
            "max_ms": round(one.longest, 2),
        }
        for one in measured
    }
    text = f"{text} ms (median/p95/longest of {ROUNDS})"
    if max(one.median for one in measured) > _SLOW_MILLISECONDS:
        advice = "a request makes 3 to 9 calls in turn: run the server nearer to the cluster"
        return Finding("latency", Status.WARNING, text, advice, facts)
    return Finding("latency", Status.OK, text, "", facts)


def _catalog(config: VastConfig, door: Door) -> Iterator[Finding]:
    """The version of the catalog's schema, and how many rows are in it."""
    try:
        with closing(VastClient(config)) as client:
            found, needed = check(client)
    except TamsError as refused:
        yield Finding("schema version", Status.FAILED, str(refused))
        return
    facts = {"found": found, "needed": needed}
    text = f"{found}, this program needs {needed}"
    if found == 0:
        text = f"there is no catalog in schema {config.schema} yet"
        yield Finding("schema version", Status.OK, text, "the server makes it at start", facts)
        return
    if found < needed:
        yield Finding("schema version", Status.FAILED, text, "run `tams-gql migrate`", facts)
    elif found > needed:
        yield Finding("schema version", Status.FAILED, text, "a newer release wrote it", facts)
    else:
        yield Finding("schema version", Status.OK, str(found), "", facts)
        with closing(VastClient(config)) as client:
            yield references(client)
    yield _rows(door)


def _rows(door: Door) -> Finding:
    try:
        with door.begin() as party:
            there = party.tables()
            counts = {
                table.name: party.stored_rows(table.name)
                for table in PHYSICAL
                if table.name in there
            }
    except (Refused, NoAnswer) as refused:
        return Finding("rows", Status.FAILED, f"statistics cannot be read: {refused}")
    missing = [table.name for table in PHYSICAL if table.name not in counts]
    if missing:
        text = f"tables are missing: {', '.join(missing)}"
        return Finding("rows", Status.FAILED, text, "run `tams-gql migrate`", {"missing": missing})
    text = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return Finding("rows", Status.OK, text, "", {"rows": counts})
