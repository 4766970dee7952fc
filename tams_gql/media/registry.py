"""The configured storage backends, and calls that span several of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from tams_gql.media.port import (
    MediaBackend,
    ObjectLocation,
    ObjectStat,
    ReadMethod,
)
from tams_gql.model.bounds import shown
from tams_gql.model.errors import BadInput, NotFound, Unavailable

_SIGNING_THREADS: Final = 2

T = TypeVar("T")


class CannotSign(Unavailable):
    """A storage backend cannot sign URLs now. Nothing else has failed."""


Signed = str | CannotSign | None
"""A URL, or why there is none; None where its backend is not configured."""


class MediaRegistry:
    """Several backends by id, in order of preference; at most one of them is the default."""

    def __init__(self, backends: Iterable[MediaBackend]) -> None:
        """Raises BadInput if two backends share an id or call themselves the default."""
        self._backends: dict[str, MediaBackend] = {}
        for media in backends:
            if self._backends.setdefault(media.backend.id, media) is not media:
                raise BadInput(f"two storage backends have the id {media.backend.id}")
        defaults = [media for media in self if media.backend.default]
        if len(defaults) > 1:
            labels = ", ".join(media.backend.label for media in defaults)
            raise BadInput(f"only one storage backend may be the default, not {labels}")
        self._default = defaults[0] if defaults else None
        self._signing: CapacityLimiter | None = None

    def __iter__(self) -> Iterator[MediaBackend]:
        return iter(self._backends.values())

    def __len__(self) -> int:
        return len(self._backends)

    @property
    def default(self) -> MediaBackend | None:
        """Where objects go when the client names no backend; None if it must name one."""
        return self._default

    def get(self, storage_id: str) -> MediaBackend | None:
        """The backend with that id, or None."""
        return self._backends.get(storage_id)

    def for_allocation(self, storage_id: str | None) -> MediaBackend:
        """The backend to allocate storage in (schemas/flow-storage-post.json, ``storage_id``).

        Raises BadInput if the id is unknown, or if it is None and there is no default.
        """
        chosen = self._default if storage_id is None else self._backends.get(storage_id)
        if chosen is not None:
            return chosen
        known = ", ".join(self._backends) or "none"
        if storage_id is None:
            raise BadInput(f"no storage backend is the default: name one of {known}")
        raise BadInput(f"storage backend {shown(storage_id)} is unknown; there are: {known}")

    async def sign_get(
        self, locations: Sequence[ObjectLocation], *, expires_in: int, method: ReadMethod = "GET"
    ) -> list[Signed]:
        """One URL for each location, in order. A backend that fails spoils only its own.

        None where the backend is no longer configured: the instance is known but not readable.
        CannotSign where the backend cannot sign now.
        """
        urls: list[Signed] = [None] * len(locations)
        for media, places, keys in self._grouped(locations):
            sign = partial(media.sign_get, keys, expires_in=expires_in, method=method)
            signed: Sequence[Signed]
            try:
                signed = await self._in_thread(sign) if media.signs_slowly else sign()
            except Unavailable as error:
                label = media.backend.label
                told = CannotSign(f"storage backend {label} cannot sign URLs: {error.message}")
                signed = [told] * len(keys)
            for place, url in zip(places, signed, strict=True):
                urls[place] = url
        return urls

    async def _in_thread(self, sign: Callable[[], list[str]]) -> list[str]:
        # Few at a time: signing keeps a core busy, and others need the threads for their files.
        if self._signing is None:
            self._signing = CapacityLimiter(_SIGNING_THREADS)
        # A client that has left need not be waited for: a signature changes nothing.
        return await run_sync(sign, limiter=self._signing, abandon_on_cancel=True)

    async def stat(self, locations: Sequence[ObjectLocation]) -> list[ObjectStat | None]:
        """What is stored at each location, in order; None where nothing is.

        Raises NotFound if a backend is not configured (whether the object exists is then unknown)
        and Unavailable if one does not answer.
        """
        self._require_configured(locations)
        stats: list[ObjectStat | None] = [None] * len(locations)
        groups = list(self._grouped(locations))
        answers = await _all(media.stat(keys) for media, _, keys in groups)
        for (_, places, _), answer in zip(groups, answers, strict=True):
            for place, stat in zip(places, answer, strict=True):
                stats[place] = stat
        return stats

    async def delete(self, locations: Sequence[ObjectLocation]) -> None:
        """Remove the objects; a location that holds nothing is no error.

        Raises NotFound, and removes nothing, if a backend is not configured. Raises Unavailable
        if some objects could not be removed; calling again is safe.
        """
        self._require_configured(locations)
        await _all(media.delete(keys) for media, _, keys in self._grouped(locations))

    async def check(self) -> dict[str, Unavailable | None]:
        """For each backend id: None if the backend works, else what it failed with."""

        async def failure(media: MediaBackend) -> Unavailable | None:
            try:
                await media.check()
            except Unavailable as error:
                return error
            return None

        failures = await asyncio.gather(*map(failure, self))
        return dict(zip(self._backends, failures, strict=True))

    def _grouped(
        self, locations: Sequence[ObjectLocation]
    ) -> Iterator[tuple[MediaBackend, list[int], list[str]]]:
        """For each configured backend: itself, the places of its locations, and their keys."""
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, location in enumerate(locations):
            places[location.storage_id].append(place)
        for storage_id, mine in places.items():
            media = self._backends.get(storage_id)
            if media is not None:
                yield media, mine, [locations[place].key for place in mine]

    def _require_configured(self, locations: Sequence[ObjectLocation]) -> None:
        unknown = {location.storage_id for location in locations} - self._backends.keys()
        if unknown:
            raise NotFound(f"storage backends not configured here: {', '.join(sorted(unknown))}")


async def _all(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run the calls side by side and wait for all of them, then raise the first failure if any."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
