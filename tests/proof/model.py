"""What filters, searches and orders mean, said in plain Python over the API's own documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key
from typing import Any

from tams_gql.model.time import TimeRange
from tests.gql import Data

Test = Callable[[Data, Any], bool]
"""Whether a document meets one condition of a filter."""


def _tags(document: Data) -> dict[str, list[str]]:
    return {tag["name"]: tag["values"] for tag in document["tags"]}


def _tag(document: Data, condition: Data) -> bool:
    tags, (test, wanted) = _tags(document), _only_test(condition)
    values = tags.get(condition["name"], [])
    match test:
        case "in":
            return any(value in wanted for value in values)
        case "all":
            return all(value in values for value in wanted)
        case "prefix":
            return any(value.startswith(wanted) for value in values)
        case _:
            return (condition["name"] in tags) is wanted


def _only_test(condition: Data) -> tuple[str, Any]:
    ((test, wanted),) = [
        (name, value) for name, value in condition.items() if name != "name" and value is not None
    ]
    return test, wanted


def _essence(flow: Data, name: str) -> Any:
    return (flow.get("essenceParameters") or flow.get("multi") or {}).get(name)


def _overlaps(flow: Data, wanted: str) -> bool:
    own, asked = TimeRange.parse(flow["timerange"]), TimeRange.parse(wanted)
    return own.is_empty if asked.is_empty else own.overlaps(asked)


def _collected(document: Data, wanted: list[str]) -> bool:
    parents = {parent["id"] for parent in document["collectedBy"]}
    return not parents.isdisjoint(wanted) if wanted else not parents


def _same(name: str) -> Test:
    return lambda document, wanted: bool(document[name] == wanted)


def _among(name: str) -> Test:
    return lambda document, wanted: document[name] in wanted


def _essential(name: str) -> Test:
    return lambda flow, wanted: bool(_essence(flow, name) == wanted)


_COMMON: dict[str, Test] = {
    "ids": _among("id"),
    "format": _among("format"),
    "label": _same("label"),
    # All times have the same number of digits, so they compare as texts.
    "createdAfter": lambda document, wanted: document["created"] > wanted,
    "createdBefore": lambda document, wanted: document["created"] < wanted,
    "tags": lambda document, wanted: all(_tag(document, one) for one in wanted),
    "collectedByIds": _collected,
}

FLOW: dict[str, Test] = {
    **_COMMON,
    "sourceIds": lambda flow, wanted: flow["source"]["id"] in wanted,
    "codec": _same("codec"),
    "container": _same("container"),
    "status": _among("status"),
    "readOnly": _same("readOnly"),
    "generation": _same("generation"),
    "frameWidth": _essential("frameWidth"),
    "frameHeight": _essential("frameHeight"),
    "sampleRate": _essential("sampleRate"),
    "channels": _essential("channels"),
    "initSegments": lambda flow, wanted: bool(_essence(flow, "initSegments")) is wanted,
    "profileId": lambda flow, wanted: (flow["profile"] or {}).get("id") == wanted,
    "timerange": _overlaps,
    "updatedAfter": lambda flow, wanted: flow["metadataUpdated"] > wanted,
}
SOURCE: dict[str, Test] = {
    **_COMMON,
    "updatedAfter": lambda source, wanted: source["updated"] > wanted,
}
PROFILE: dict[str, Test] = {**_COMMON, "codec": _same("codec")}
OBJECT: dict[str, Test] = {
    "ids": _among("id"),
    "contentType": _same("contentType"),
    "storageId": lambda row, wanted: wanted in [i["storageId"] for i in row["instances"]],
    "minSize": lambda row, wanted: row["size"] is not None and row["size"] >= wanted,
    "maxSize": lambda row, wanted: row["size"] is not None and row["size"] <= wanted,
    "minReferences": lambda row, wanted: row["referenceCount"] >= wanted,
    "maxReferences": lambda row, wanted: row["referenceCount"] <= wanted,
    "orphaned": lambda row, wanted: (row["orphaned"] is not None) is wanted,
    "createdAfter": _COMMON["createdAfter"],
    "createdBefore": _COMMON["createdBefore"],
}
EVENT: dict[str, Test] = {
    "types": _among("type"),
    "flowIds": _among("flowId"),
    "sourceIds": _among("sourceId"),
}


def meets(tests: dict[str, Test], document: Data, chosen: Data | None) -> bool:
    """Whether a document meets a filter. A condition that is null is not given."""
    return all(
        _meets(tests, document, name, wanted)
        for name, wanted in (chosen or {}).items()
        if wanted is not None
    )


def _meets(tests: dict[str, Test], document: Data, name: str, wanted: Any) -> bool:
    match name:
        case "AND":
            return all(meets(tests, document, one) for one in wanted)
        case "OR":
            return any(meets(tests, document, one) for one in wanted)
        case "NOT":
            return not meets(tests, document, wanted)
        case _:
            return tests[name](document, wanted)


def found_by(document: Data, search: str | None) -> bool:
    """Whether every word occurs in label, description or a tag value. U+0000 parts words."""
    texts = [document["label"] or "", document["description"] or ""]
    texts += [value for values in _tags(document).values() for value in values]
    parts = [part.casefold() for text in texts for part in text.split("\0")]
    words = (search or "").replace("\0", " ").casefold().split()
    return all(any(word in part for part in parts) for word in words)


def ordered(documents: Iterable[Data], order: Data | None, updated: str) -> list[Data]:
    """Documents in order; those without a label count as greatest, equals go by id."""
    order = order or {}
    field = {"METADATA_UPDATED": updated, "UPDATED": updated}.get(
        order.get("field", "CREATED"), order.get("field", "CREATED").lower()
    )
    direction = order.get("direction") or ("ASC" if field == "label" else "DESC")

    def compare(a: Data, b: Data) -> int:
        return _compare((a[field], a["id"]), (b[field], b["id"]))

    return sorted(documents, key=cmp_to_key(compare), reverse=direction == "DESC")


def _compare(one: Sequence[Any], other: Sequence[Any]) -> int:
    for a, b in zip(one, other, strict=True):
        if a != b:
            return 1 if a is None or (b is not None and a > b) else -1
    return 0
