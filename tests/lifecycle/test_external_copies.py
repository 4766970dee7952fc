"""Objects that lie elsewhere are brought into a storage backend, if the operator allows it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tams_gql.media.port import ObjectLocation
from tams_gql.model.errors import Unavailable
from tams_gql.model.ids import new_id
from tams_gql.resolvers import jobs
from tams_gql.resolvers.copies import CopyObject
from tams_gql.resolvers.documents import to_json_text
from tams_gql.resolvers.worker import keep_running
from tests.gql import Data
from tests.lifecycle.test_copies import BODY, SHA256, ask, asked, request, seen
from tests.lifecycle.world import ADD, REMOVE, World, living
from tests.media.elsewhere import Elsewhere, serving_elsewhere
from tests.seed import external

COPY = CopyObject()
SIZE = "query Size($id: ID!) { object(id: $id) { size contentType } }"


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    async with serving_elsewhere() as server:
        server.answers["/o"] = lambda _: web.Response(body=BODY)
        yield server


@pytest.fixture
async def world(tmp_path: Path, elsewhere: Elsewhere) -> AsyncIterator[World]:
    """A catalog that may read from there."""
    async with living(
        tmp_path,
        external_copy_hosts=(f"127.0.0.1:{elsewhere.port}",),
        external_copy_networks=("127.0.0.0/8",),
        external_copy_max_bytes=1000,
    ) as world:
        yield world


async def outside(world: World, url: str) -> str:
    """An object that lies at a URL alone."""
    segment = {**external("[0:0_1:0)", "outside"), "getUrls": [{"url": url, "label": "theirs"}]}
    await world.seed.register(await world.seed.flow(), [segment])
    return "outside"


async def ended(world: World, object_id: str) -> Data:
    """The copy request when the service has done what it can."""
    for _ in range(COPY.max_attempts):
        await world.work(COPY)
        world.ahead += 3600
    return await request(world, object_id)


async def test_an_object_that_lies_elsewhere_is_copied(world: World, elsewhere: Elsewhere) -> None:
    # given
    object_id = await outside(world, elsewhere.url("/o?token=1", "127.0.0.1"))
    assert (await world.objects())[object_id].size is None
    # when
    await ask(world, object_id)
    assert await request(world, object_id) == asked(world, totalBytes=None)
    await world.work(COPY)
    # then
    assert elsewhere.asked == ["127.0.0.1/o?token=1"]
    assert await request(world, object_id) == asked(world, status="DONE", doneBytes=len(BODY))
    found = await seen(world, object_id)
    assert [(i["label"], i["controlled"]) for i in found["instances"]] == [
        ("second", True),
        ("theirs", False),
    ]
    assert found["instances"][0]["checksums"] == [{"algorithm": "sha256", "value": SHA256}]
    # and its type is that of the catalog, its size is known from now on
    told = (await world.gql.execute(SIZE, {"id": object_id}))["object"]
    assert told == {"size": len(BODY), "contentType": "video/mp2t"}
    [stat] = await world.services.media.stat([await _place(world, object_id)])
    assert stat is not None
    assert (stat.size, stat.content_type) == (len(BODY), "video/mp2t")


async def _place(world: World, object_id: str) -> ObjectLocation:
    [found] = [i for i in await world.catalog_instances(object_id) if "key" in i]
    return ObjectLocation(found["storage_id"], found["key"])


async def test_a_size_that_nobody_tells_does_no_harm(world: World, elsewhere: Elsewhere) -> None:
    async def chunked(asked: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(asked)
        for at in range(0, len(BODY), 5):
            await answer.write(BODY[at : at + 5])
        return answer

    elsewhere.answers["/o"] = chunked
    object_id = await outside(world, elsewhere.url("/o", "127.0.0.1"))
    await ask(world, object_id)
    await world.work(COPY)
    assert await request(world, object_id) == asked(world, status="DONE", doneBytes=len(BODY))


@pytest.mark.parametrize(
    "url", ["http://media.example.com/1.ts", "http://127.0.0.1:1/o", "http://127.0.0.1/o"]
)
async def test_what_the_settings_do_not_allow_is_refused_at_once(world: World, url: str) -> None:
    object_id = await outside(world, url)
    given = {"objectId": object_id, "storageId": world.second.backend.id}
    (error,) = await world.gql.errors(ADD, {"input": given})
    assert error["message"] == (
        "no copy of the object can be read: the settings do not allow to read from the host of"
        " the external copy (external_copy_hosts)"
    )
    assert error["extensions"] == {"code": "CONFLICT", "field": "input.storageId"}
    assert await world.found_jobs(jobs.COPY) == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (web.Response(status=404), "there is nothing at the URL of the external copy"),
        (web.Response(status=503), "the server of the external copy answers 503"),
        (
            web.Response(body=BODY, headers={"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}),
            "the stored bytes do not have their md5 checksum",
        ),
        (
            web.Response(body=bytes(1001)),
            "the external copy is larger than external_copy_max_bytes, 1000 bytes",
        ),
        (
            web.Response(status=302, headers={"Location": "http://169.254.169.254/latest"}),
            "the settings do not allow to read from the host of the external copy"
            " (external_copy_hosts)",
        ),
    ],
)
async def test_what_cannot_be_read_is_told_and_leaves_nothing(
    world: World, elsewhere: Elsewhere, answer: web.Response, error: str
) -> None:
    def again(_: web.Request) -> web.Response:
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    elsewhere.answers["/o"] = again
    object_id = await outside(world, elsewhere.url("/o?s3cret", "127.0.0.1"))
    await ask(world, object_id)
    told = await ended(world, object_id)
    assert told == {**asked(world, status="ERROR", totalBytes=None), "error": error}
    # What cannot come right is not asked for again and again.
    assert len(elsewhere.asked) == (1 if "larger" in error else COPY.max_attempts)
    assert [copy async for copy in world.second.inner.list_objects()] == []


async def test_bytes_that_are_not_those_of_the_object_are_refused(
    world: World, elsewhere: Elsewhere
) -> None:
    # given an object whose stored copy is out of reach, and another one elsewhere
    (object_id,) = await world.seed.segments(await world.seed.flow(), "[0:0_1:0)", body=BODY)
    theirs = {"url": elsewhere.url("/o", "127.0.0.1"), "label": "theirs"}
    await world.gql.execute(ADD, {"input": {"objectId": object_id, **theirs}})
    await world.set_object(object_id, instances=await _unreachable(world, object_id))
    for body, error in (
        (BODY + b"x", f"the copy in theirs has {len(BODY) + 1} bytes, the object {len(BODY)}"),
        (BODY[::-1], "the stored bytes do not have their sha256 checksum"),
    ):
        elsewhere.answers["/o"] = lambda _, body=body: web.Response(body=body)  # type: ignore[misc]
        await ask(world, object_id)
        await world.work(COPY)
        world.ahead += 3600
        assert (await request(world, object_id))["error"] == error
    elsewhere.answers["/o"] = lambda _: web.Response(body=BODY)
    await world.work(COPY)
    assert (await request(world, object_id))["status"] == "DONE"


async def _unreachable(world: World, object_id: str) -> str:
    """The instances as they are after the settings have lost a storage backend."""
    instances = await world.catalog_instances(object_id)
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    assert instances[0]["checksums"] == {"sha256": digest}
    return to_json_text([{**instances[0], "storage_id": new_id()}, *instances[1:]])


async def test_one_source_without_hope_does_not_end_what_another_may_still_do(
    world: World, elsewhere: Elsewhere
) -> None:
    # given one copy that is too large, and another one whose server is down for now
    object_id = await outside(world, elsewhere.url("/large", "127.0.0.1"))
    other = {"url": elsewhere.url("/o", "127.0.0.1"), "label": "other"}
    await world.gql.execute(ADD, {"input": {"objectId": object_id, **other}})
    elsewhere.answers["/large"] = lambda _: web.Response(body=bytes(1001))
    elsewhere.answers["/o"] = lambda _: web.Response(status=503)
    await ask(world, object_id)
    await world.work(COPY)
    # when
    assert (await request(world, object_id))["status"] != "ERROR"
    elsewhere.answers["/o"] = lambda _: web.Response(body=BODY)
    world.ahead += 3600
    await world.work(COPY)
    # then
    assert (await request(world, object_id))["status"] == "DONE"


async def test_a_copy_of_our_own_comes_first(world: World, elsewhere: Elsewhere) -> None:
    (object_id,) = await world.seed.segments(await world.seed.flow(), "[0:0_1:0)", body=BODY)
    theirs = {"url": elsewhere.url("/o", "127.0.0.1"), "label": "theirs"}
    await world.gql.execute(ADD, {"input": {"objectId": object_id, **theirs}})
    await ask(world, object_id)
    world.second.on_copy = Unavailable("the store is down")
    await world.work(COPY)
    # What failed there is made up for from elsewhere.
    assert elsewhere.asked == ["127.0.0.1/o"]
    assert (await request(world, object_id))["status"] == "DONE"
    second = world.second.backend.id
    await world.gql.execute(REMOVE, {"input": {"objectId": object_id, "storageId": second}})
    world.second.on_copy = None
    await ask(world, object_id)
    await world.work(COPY)
    assert elsewhere.asked == ["127.0.0.1/o"]


async def test_a_copy_that_was_cut_short_is_made_anew(world: World, elsewhere: Elsewhere) -> None:
    """A worker dies while it reads; the next one begins again, and nothing stays behind."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(asked: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(BODY))})
        await answer.prepare(asked)
        await answer.write(BODY[:5])
        reached.set()
        await go_on.wait()
        await answer.write(BODY[5:])
        return answer

    elsewhere.answers["/o"] = slowly
    object_id = await outside(world, elsewhere.url("/o", "127.0.0.1"))
    await ask(world, object_id)
    worker = asyncio.create_task(keep_running(world.services, COPY, "worker"))
    await reached.wait()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    go_on.set()
    assert [copy async for copy in world.second.inner.list_objects()] == []
    assert await world.work(COPY) != []
    assert (await request(world, object_id))["status"] == "DONE"
