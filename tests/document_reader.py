"""A reader who does everything a document says, in its order, with a real server."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from graphql import OperationType

from tests.catalog import PATIENCE_SECONDS, Catalog
from tests.documents import Example, Request, Step, Upload
from tests.gql import Data, without_location
from tests.gql_ws import Connection, Refused, Stream, connected
from tests.seed import header_of

SHOWN_URL = "http://127.0.0.1:8000"
"""What documents call the server."""

_REFERENCE = re.compile(r"\$([A-Za-z]\w*)((?:\.\w+)+)")
_ANY = "…"


class Reader:
    """Keeps the answers by the name of their example; later examples refer to them."""

    def __init__(self, catalog: Catalog, socket: Connection) -> None:
        self._catalog = catalog
        self._socket = socket
        self._streams: dict[str, tuple[Example, Stream]] = {}
        self.answers: dict[str, Data] = {}

    async def follow(self, steps: Iterable[Step]) -> None:
        """Do all that is asked. Each answer must be what the document says it is."""
        for step in steps:
            if isinstance(step, Example):
                await self._run(step)
            elif isinstance(step, Upload):
                await self._upload(step)
            else:
                await self._request(step)

    async def hear(self) -> None:
        """Take the first event of every subscription that was not asked for it yet."""
        for name in [*self._streams]:
            await self._answer(name)

    def differing(self, name: str, wanted: object) -> list[str]:
        """Where the answer to an example is not the wanted one."""
        return differing(wanted, _shown(self.answers[name], self._url))

    async def _run(self, example: Example) -> None:
        variables = await self._filled(example.variables)
        if example.operation.operation is OperationType.SUBSCRIPTION:
            await self._subscribe(example, variables)
            return
        answer = await self._catalog.gql.answer(example.text, variables)
        self._check(example, answer)
        if example.twice:
            assert await self._catalog.gql.answer(example.text, variables) == answer, example.place

    async def _subscribe(self, example: Example, variables: Data) -> None:
        following = self._catalog.services.feed._subscribers
        stream = await self._socket.subscribe(example.text, variables)
        self._streams[example.name] = (example, stream)
        if example.fails is not None:
            await self._answer(example.name)
            return
        # What comes next may be what this is to hear of, so it must have begun.
        await self._until_subscribers(following + 1)

    async def _until_subscribers(self, count: int) -> None:
        """Wait until so many subscriptions follow the change log; no client is told of that."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._catalog.services.feed._subscribers != count:  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def _answer(self, name: str) -> Data:
        """What an example has answered; for a subscription its first event."""
        if name in self._streams:
            example, stream = self._streams.pop(name)
            try:
                self._check(example, {"data": await stream.next()})
            except Refused as refused:
                self._check(example, {"data": None, "errors": refused.errors})
        return self.answers[name]

    def _check(self, example: Example, answer: Data) -> None:
        errors = [without_location(error) for error in answer.get("errors", ())]
        wanted = [] if example.fails is None else [example.fails]
        assert [error["extensions"]["code"] for error in errors] == wanted, (example.place, errors)
        data = answer.get("data")
        self.answers[example.name] = {} if data is None else data
        if example.answer is not None:
            found: object = {"errors": errors} if errors else data
            differences = differing(example.answer, _shown(found, self._url))
            assert differences == [], (example.place, found)

    @property
    def _url(self) -> str:
        return self._catalog.settings.public_url

    async def _filled(self, variables: Mapping[str, Any]) -> Data:
        return {name: await self._value(value) for name, value in variables.items()}

    async def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return await self._filled(value)
        if isinstance(value, list):
            return [await self._value(item) for item in value]
        if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value)):
            return at(await self._answer(reference[1]), reference[2].split(".")[1:])
        return value

    async def _upload(self, upload: Upload) -> None:
        (payload,) = (await self._answer(upload.allocation)).values()
        for place in payload["mediaObjects"]:
            put = place["putUrl"]
            sent = await self._catalog.http.put(
                put["url"], headers=header_of(put), content=b"the bytes of " + upload.place.encode()
            )
            assert sent.status_code == httpx.codes.OK, (upload.place, sent.text)

    async def _request(self, request: Request) -> None:
        method, url, headers, body = curl(request.command)
        here = httpx.URL(self._url).copy_with(raw_path=httpx.URL(url).raw_path)
        following = self._catalog.services.feed._subscribers
        http = self._catalog.http
        async with http.stream(method, here, headers=headers, content=body) as answer:
            assert answer.status_code == httpx.codes.OK, request.place
            if answer.headers["content-type"].startswith("text/event-stream"):
                await self._until_subscribers(following + 1)
            else:
                await answer.aread()
                assert "errors" not in answer.json(), (request.place, answer.text)
        await self._until_subscribers(following)


@asynccontextmanager
async def reading(catalog: Catalog) -> AsyncIterator[Reader]:
    """A reader with a WebSocket to a catalog."""
    async with connected(catalog.settings.public_url) as socket:
        yield Reader(catalog, socket)


def at(value: Any, path: Iterable[str]) -> Any:
    """What is at a path of keys and list indexes."""
    for key in path:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _shown(value: Any, url: str) -> Any:
    """An answer with the server's URL as documents have it."""
    if isinstance(value, dict):
        return {key: _shown(item, url) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item, url) for item in value]
    return value.replace(url, SHOWN_URL) if isinstance(value, str) else value


def differing(wanted: object, found: object, path: str = "answer") -> list[str]:
    """Where a value is not what a document says; ``…`` is any text, value, rest of a list or keys.

    A ``…`` of its own is never null.
    """
    if wanted == _ANY:
        return [f"{path}: null"] if found is None else []
    if isinstance(wanted, dict) and isinstance(found, dict):
        return _differing_objects(wanted, found, path)
    if isinstance(wanted, list) and isinstance(found, list):
        return _differing_lists(wanted, found, path)
    if isinstance(wanted, str) and isinstance(found, str) and _ANY in wanted:
        pattern = ".*".join(map(re.escape, wanted.split(_ANY)))
        return [] if re.fullmatch(pattern, found, re.DOTALL) else [f"{path}: {found}"]
    same = wanted == found and type(wanted) is type(found)
    return [] if same else [f"{path}: {found!r} instead of {wanted!r}"]


def _differing_objects(wanted: Data, found: Data, path: str) -> list[str]:
    keys = wanted.keys() - {_ANY}
    gone, new = keys - found.keys(), set[str]() if _ANY in wanted else found.keys() - keys
    return [
        *(f"{path}.{key}: missing" for key in sorted(gone)),
        *(f"{path}.{key}: not expected" for key in sorted(new)),
        *(
            line
            for key in wanted
            if key in found and key != _ANY
            for line in differing(wanted[key], found[key], f"{path}.{key}")
        ),
    ]


def _differing_lists(wanted: list[Any], found: list[Any], path: str) -> list[str]:
    if wanted and wanted[-1] == _ANY:
        wanted = wanted[:-1]
        found = found[: len(wanted)]
    if len(wanted) != len(found):
        return [f"{path}: {len(found)} items instead of {len(wanted)}"]
    return [
        line
        for index, pair in enumerate(zip(wanted, found, strict=True))
        for line in differing(*pair, f"{path}.{index}")
    ]


def curl(command: str) -> tuple[str, str, dict[str, str], bytes | None]:
    """Method, URL, headers and body of a command line of curl. Other options are refused."""
    name, *words = shlex.split(command.replace("\\\n", ""))
    assert name == "curl", command
    url, headers, body = "", dict[str, str](), None
    while words:
        word = words.pop(0)
        if word == "-H":
            key, _, value = words.pop(0).partition(": ")
            headers[key] = value
        elif word == "-d":
            body = words.pop(0).encode()
        elif word not in ("-N", "--no-buffer"):
            assert not word.startswith("-"), command
            url = word
    return "GET" if body is None else "POST", url, headers, body
