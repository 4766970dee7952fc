"""Filters as clients could write them, with values that a catalog has and some that it has not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from hypothesis import strategies as st

from tams_gql.model.ids import new_id
from tests.gql import Data
from tests.proof import world as made
from tests.proof.world import World

T = TypeVar("T")

Filters = st.SearchStrategy[Data | None]


def _some(values: Iterable[T]) -> st.SearchStrategy[T]:
    return st.sampled_from(list(values))


def _several(values: Iterable[T]) -> st.SearchStrategy[list[T]]:
    return st.lists(_some(values), max_size=3)


def _of(documents: Iterable[Data], name: str) -> list[Any]:
    """The values that are there, and one that is not."""
    return [document[name] for document in documents]


def _collectors(documents: Iterable[Data]) -> list[str]:
    """Those that collect others."""
    return sorted({parent["id"] for document in documents for parent in document["collectedBy"]})


_RANGES = ["_", "()", "[0:0_5:0)", "[10:0]", "_0:0)", "[30:0_", "(59:0_60:0)", "[100:0_200:0)"]

_tag_tests: st.SearchStrategy[Data] = st.one_of(
    st.fixed_dictionaries({"in": _several(made.TAG_VALUES)}),
    st.fixed_dictionaries({"all": _several(made.TAG_VALUES)}),
    st.fixed_dictionaries({"prefix": _some(["", "n", "N", "日", "zz", "new\0"])}),
    st.fixed_dictionaries({"exists": st.booleans()}),
)
_names = _some([*made.TAG_NAMES, "unknown"])
tag_filters: st.SearchStrategy[Data] = st.builds(
    lambda name, test, nothing: {"name": name, **nothing, **test},
    _names,
    _tag_tests,
    _some([{}, {"exists": None}, {"prefix": None, "in": None}]),
)


def _conditions(**tests: st.SearchStrategy[Any]) -> st.SearchStrategy[Data]:
    """One or two of the tests, each of which may be given as null."""
    one = st.one_of(
        *(
            st.builds(lambda value, name=name: {name: value}, st.none() | values)
            if name == "label"
            else st.builds(lambda value, name=name: {name: value}, values)
            for name, values in tests.items()
        )
    )
    return st.lists(one, max_size=2).map(lambda parts: {k: v for p in parts for k, v in p.items()})


def _combined(plain: st.SearchStrategy[Data]) -> Filters:
    """Conditions nested with AND, OR and NOT."""

    def nested(inner: st.SearchStrategy[Data]) -> st.SearchStrategy[Data]:
        branches = st.fixed_dictionaries(
            {},
            optional={
                "AND": st.none() | st.lists(inner, max_size=3),
                "OR": st.none() | st.lists(inner, max_size=3),
                "NOT": st.none() | inner,
            },
        )
        return st.builds(lambda own, more: {**own, **more}, plain, branches)

    return st.none() | st.recursive(plain, nested, max_leaves=6)


def flow_filters(world: World) -> Filters:
    """Filters on flows."""
    flows = world.flows
    return _combined(
        _conditions(
            ids=_several([*_of(flows, "id"), new_id()]),
            sourceIds=_several([*_of(world.sources, "id"), new_id()]),
            format=_several(made.FORMATS),
            codec=_some([*made.CODECS["video"], "audio/aac", "no/such"]),
            container=_some(made.CONTAINERS),
            label=_some(label for label in made.LABELS if label is not None),
            status=_several(made.STATUSES),
            readOnly=st.booleans(),
            generation=_some([0, 1, -1, 2**31 - 1]),
            frameWidth=_some([*made.WIDTHS, 0]),
            frameHeight=_some([720, 1080]),
            sampleRate=_some(made.RATES),
            channels=_some([1, 2, -(2**31)]),
            initSegments=st.booleans(),
            profileId=_some([*_of(world.profiles, "id"), new_id()]),
            timerange=_some(_RANGES),
            createdAfter=_some(_of(flows, "created")),
            createdBefore=_some(_of(flows, "created")),
            updatedAfter=_some(_of(flows, "metadataUpdated")),
            collectedByIds=_several([*_collectors(flows), flows[0]["id"], new_id()]),
            tags=st.lists(tag_filters, max_size=2),
        )
    )


def source_filters(world: World) -> Filters:
    """Filters on sources."""
    sources = world.sources
    return _combined(
        _conditions(
            ids=_several([*_of(sources, "id"), new_id()]),
            format=_several(made.FORMATS),
            label=_some(label for label in made.LABELS if label is not None),
            createdAfter=_some(_of(sources, "created")),
            createdBefore=_some(_of(sources, "created")),
            updatedAfter=_some(_of(sources, "updated")),
            collectedByIds=_several([*_collectors(sources), sources[0]["id"], new_id()]),
            tags=st.lists(tag_filters, max_size=2),
        )
    )


def profile_filters(world: World) -> Filters:
    """Filters on profiles."""
    return st.none() | _conditions(
        format=_several(made.FORMATS),
        codec=_some(made.CODECS["video"]),
        label=_some(label for label in made.LABELS if label is not None),
        tags=st.lists(tag_filters, max_size=2),
    )


def object_filters(world: World) -> Filters:
    """Filters on media objects."""
    objects = world.objects
    stored = {i["storageId"] for row in objects for i in row["instances"] if i["storageId"]}
    return st.none() | _conditions(
        ids=_several([*_of(objects, "id"), "no such object"]),
        contentType=_some([*made.CONTAINERS, "no/such"]),
        storageId=_some([*stored, new_id()]),
        minSize=_some([0, 3, 5, 2**63 - 1]),
        maxSize=_some([0, 3, 5, -(2**63)]),
        minReferences=_some([0, 1, 2]),
        maxReferences=_some([0, 1, -1]),
        orphaned=st.booleans(),
        createdAfter=_some(_of(objects, "created")),
        createdBefore=_some(_of(objects, "created")),
    )


def event_filters(world: World) -> Filters:
    """Filters on events."""
    kinds = sorted({event["type"] for event in world.events})
    return st.none() | _conditions(
        types=_several(kinds),
        flowIds=_several([*_of(world.flows, "id"), new_id()]),
        sourceIds=_several([*_of(world.sources, "id"), new_id()]),
    )


def _orders(*fields: str) -> Filters:
    return st.none() | st.fixed_dictionaries(
        {"field": _some(fields)}, optional={"direction": _some([None, "ASC", "DESC"])}
    )


flow_orders = _orders("CREATED", "METADATA_UPDATED", "LABEL")
source_orders = _orders("CREATED", "UPDATED", "LABEL")

searches: st.SearchStrategy[str | None] = st.one_of(
    st.none(),
    _some(made.SEARCHES),
    st.lists(_some([*made.SEARCHES, "\0", " ", "\u3000"]), max_size=3).map(" ".join),
)
"""Words that occur, in other cases too, and what an index might take for an operator."""
