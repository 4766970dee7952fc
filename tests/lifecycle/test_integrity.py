"""Reading stored objects again: changed, missing and unreadable bytes are noticed."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tams_gql.media import verification
from tams_gql.media.registry import MediaRegistry
from tams_gql.media.verification import mismatches
from tams_gql.metrics import INTEGRITY_CHECKS
from tams_gql.model.errors import Unavailable
from tams_gql.resolvers.integrity import Checked, check_object, keep_checking, next_object
from tams_gql.resolvers.reclaim import reclaim_objects
from tams_gql.resolvers.worker import Duties, keep_working
from tests.failing import FailingMedia
from tests.lifecycle.world import World
from tests.waiting import until

BODY = b"0123456789" * 1000


class Memory(FailingMedia):
    """Readable bytes of which the digests below are known."""

    async def read(self, key: str, *, etag: str | None = None) -> AsyncIterator[bytes]:
        assert key == "k"
        yield b"1234"
        yield b"56789"


# The digests of "123456789", as they are published.
DIGESTS = {
    name: base64.b64encode(bytes.fromhex(digest)).decode()
    for name, digest in {
        "crc32": "cbf43926",
        "crc32c": "e3069283",
        "crc64nvme": "ae8b14860a799888",
        "md5": "25f9e794323b453885f5181f1b624d0b",
        "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
        "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    }.items()
}


async def test_what_is_not_read_to_its_end_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    media, closed = Memory(world.first.inner), list[str]()

    async def read(key: str, *, etag: str | None = None) -> AsyncIterator[bytes]:
        try:
            yield b"1234"
            yield b"56789"
        finally:
            closed.append(key)

    async def ended(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(media, "read", read)
    monkeypatch.setattr(verification, "run_sync", ended)
    with pytest.raises(asyncio.CancelledError):
        await mismatches(media, "k", {"md5": "AAAA"})
    assert closed == ["k"]


async def test_every_algorithm_is_compared(world: World) -> None:
    media = Memory(world.first.inner)
    for name in DIGESTS:
        assert await mismatches(media, "k", {name: DIGESTS[name]}) == []
        assert await mismatches(media, "k", {name: "AAAA"}) == [name]
    assert await mismatches(media, "k", {"xxhash64": "AAAA"}) is None
    assert await mismatches(media, "k", {}) is None
    both = {"xxhash64": "AAAA", "md5": DIGESTS["md5"], "sha1": "AAAA"}
    assert await mismatches(media, "k", both) == ["sha1"]


def file_of(tmp_path: Path, object_id: str) -> Path:
    (found,) = [p for p in (tmp_path / "data").rglob(f"*{object_id}*") if p.is_file()]
    return found


async def test_changed_and_missing_bytes_are_noticed(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given
    flow_id = await world.seed.flow()
    ids = await world.seed.segments(flow_id, *(f"[{n}:0_{n + 1}:0)" for n in range(3)), body=BODY)
    sound, changed, missing = ids
    (external,) = await world.seed.external(flow_id, "[9:0_10:0)")
    path = file_of(tmp_path, changed)
    stored = bytearray(path.read_bytes())
    stored[5000] ^= 1
    path.write_bytes(stored)
    file_of(tmp_path, missing).unlink()
    rows = await world.objects()
    counts = {name: INTEGRITY_CHECKS.get(name) for name in ("ok", "mismatch", "missing")}
    local = world.first.backend.id
    # when, then
    assert await check_object(world.services, rows[external]) == []
    with caplog.at_level(logging.ERROR):
        caplog.clear()
        for object_id, outcome in ((sound, "ok"), (changed, "mismatch"), (missing, "missing")):
            found = await check_object(world.services, rows[object_id])
            assert found == [Checked(object_id, local, outcome)]
            assert INTEGRITY_CHECKS.get(outcome) == counts[outcome] + 1
        assert [record.getMessage() for record in caplog.records] == [
            f"object {object_id} in storage backend {local}: {outcome}"
            for object_id, outcome in ((changed, "mismatch"), (missing, "missing"))
        ]


async def test_what_was_removed_meanwhile_is_no_mistake(world: World, tmp_path: Path) -> None:
    (gone,) = await world.orphan(BODY)
    row = (await world.objects())[gone]
    world.ahead = 661
    file_of(tmp_path, gone).unlink()
    assert [found.outcome for found in await check_object(world.services, row)] == ["missing"]
    assert (await reclaim_objects(world.services)).objects == 1
    assert await check_object(world.services, row) == []


async def test_objects_take_turns(world: World) -> None:
    flow_id = await world.seed.flow()
    ids = sorted(await world.seed.external(flow_id, "[0:0_1:0)", "[1:0_2:0)", "[2:0_3:0)"))
    await world.seed.allocate(flow_id, limit=3)
    after, seen = "", []
    for _ in range(7):
        row = await next_object(world.services, after)
        assert row is not None
        seen.append(after := row.id)
    assert seen == [*ids, *ids, ids[0]]


async def test_nothing_to_check_is_no_failure(world: World) -> None:
    assert await next_object(world.services, "") is None


async def test_the_worker_checks_only_when_asked(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ids = await world.seed.segments(await world.seed.flow(), "[0:0_1:0)", "[1:0_2:0)", body=BODY)
    assert len(ids) == 2
    before = INTEGRITY_CHECKS.get("ok")
    idle = asyncio.create_task(keep_working(world.services, Duties()))
    await asyncio.sleep(0.1)
    assert INTEGRITY_CHECKS.get("ok") == before
    idle.cancel()
    await asyncio.gather(idle, return_exceptions=True)
    busy = asyncio.create_task(
        keep_working(world.services, Duties(integrity_checks_per_hour=1_000_000))
    )
    await until(lambda: INTEGRITY_CHECKS.get("ok") >= before + 4)
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)
    caplog.clear()
    checking = asyncio.create_task(keep_checking(world.services, 1_000_000))
    for failure, text in (
        (Unavailable("x"), "stored objects could not be checked, trying again later: x"),
        (RuntimeError("x"), "checking stored objects failed, trying again later"),
    ):
        world.store.on_read = failure
        await until(lambda t=text: t in {r.getMessage() for r in caplog.records})  # type: ignore[misc]
    checking.cancel()
    await asyncio.gather(checking, return_exceptions=True)


class Unreadable(FailingMedia):
    """A backend that does not give out its bytes now."""

    async def read(self, key: str, *, etag: str | None = None) -> AsyncIterator[bytes]:
        raise Unavailable("the store is down")
        yield b""


async def test_a_backend_that_does_not_answer_has_lost_nothing(world: World) -> None:
    (object_id,) = await world.seed.segments(await world.seed.flow(), "[0:0_1:0)")
    media = Unreadable(world.first.inner)
    registry = MediaRegistry([media])
    world.services = replace(world.services, media=registry)
    row = (await world.objects())[object_id]
    found = await check_object(world.services, row)
    assert found == [Checked(object_id, world.first.backend.id, "unreadable")]
