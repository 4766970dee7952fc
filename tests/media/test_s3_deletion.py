"""Deletion where the store removes only some objects of a batch."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tams_gql.media.s3.client import S3Client
from tams_gql.media.s3.deletion import Deleter
from tams_gql.media.s3.failures import answered
from tams_gql.model.errors import Unavailable


class Store:
    """Answers as S3 does; ``locked`` keys cannot be removed, ``busy`` ones not with a batch."""

    def __init__(self, *, locked: set[str], busy: set[str], batch_code: str | None = None) -> None:
        self.locked = locked
        self.busy = busy
        self.batch_code = batch_code
        self.removed: set[str] = set()
        self.calls: list[str] = []

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        self.calls.append(operation)
        if operation == "delete_object":
            if parameters["Key"] in self.locked:
                raise answered(failure("AccessDenied", 403), operation, "test")
            self.removed.add(parameters["Key"])
            return {}
        if self.batch_code is not None:
            raise answered(failure(self.batch_code, 400), operation, "test")
        keys = [named["Key"] for named in parameters["Delete"]["Objects"]]
        failed = [key for key in keys if key in self.locked | self.busy]
        self.removed.update(set(keys) - set(failed))
        return {"Errors": [{"Key": key, "Code": "InternalError"} for key in failed]}


def failure(code: str, status: int) -> dict[str, Any]:
    return {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


def deleter(store: Store) -> Deleter:
    return Deleter(cast("S3Client", store), "media", limit=1)


async def test_what_a_batch_leaves_is_removed_one_by_one() -> None:
    store = Store(locked=set(), busy={"b", "d"})
    await deleter(store).delete(["a", "b", "c", "d"])
    assert store.removed == {"a", "b", "c", "d"}
    assert store.calls == ["delete_objects", "delete_object", "delete_object"]


async def test_one_object_that_cannot_go_does_not_keep_the_others() -> None:
    store = Store(locked={"b"}, busy={"c", "d"})
    with pytest.raises(Unavailable, match="does not allow delete_object"):
        await deleter(store).delete(["a", "b", "c", "d"])
    assert store.removed == {"a", "c", "d"}


@pytest.mark.parametrize(
    ("code", "second"),
    [
        ("MalformedXML", ["delete_objects", "delete_object", "delete_object"]),
        ("MissingContentMD5", ["delete_object", "delete_object"]),
    ],
)
async def test_a_batch_that_is_not_understood_is_told_from_a_store_without_batches(
    code: str, second: list[str]
) -> None:
    store = Store(locked=set(), busy=set(), batch_code=code)
    objects = deleter(store)
    await objects.delete(["a", "b"])
    assert store.calls == ["delete_objects", "delete_object", "delete_object"]
    store.calls.clear()
    await objects.delete(["c", "d"])
    assert store.calls == second
    assert store.removed == {"a", "b", "c", "d"}


async def test_a_refusal_of_another_kind_is_not_worked_around() -> None:
    store = Store(locked=set(), busy=set(), batch_code="AccessDenied")
    with pytest.raises(Unavailable, match="does not allow delete_objects"):
        await deleter(store).delete(["a", "b"])
    assert store.calls == ["delete_objects"]
