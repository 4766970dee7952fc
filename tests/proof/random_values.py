"""Values for arguments and variables: fitting ones, extreme ones and quite wrong ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    Undefined,
)

from tams_gql.model.ids import new_id

_WORDS = ["", " ", "a", "news", "\0", "a\0b", "é", "日本語", "🎬", "x" * 100]
_TEXTS = [
    *(*_WORDS, "e\u0301", "\uffff", "\ufffe", "\ufeff", "ß" * 600, "x" * 1025, "x" * 70_000),
    *("'", '"', "\\", "%", "_", "*", "--", "'; DROP TABLE flows; --", "${x}", "../..", "null"),
    *("\n", "\r\n\t", "\u2028", "\u202e", "\x7f", "\x1b[31m"),
]
_INTS = [0, 1, 2, 3, 5, 50, 255]
_ODD_INTS = [256, 1000, 1001, -1, -2, 2**31 - 1, -(2**31)]
_HUGE_INTS = [2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, 10**30]
_TIMES = ["0:0", "1:0", "0:999999999", "10:500000000"]
_ODD_TIMES = [
    *("-1:0", "-0:1", "9223372036:854775806", "-9223372036:854775807", "9223372036:854775807"),
    *(
        "99999999999:0",
        "0:1000000000",
        "00:0",
        "",
        "1",
        "1:",
        ":1",
        "1.5:0",
        "1:-1",
        "٣:٣",
        "0:0\0",
    ),
    "1" * 5000 + ":0",
]
_RANGES = ["[0:0_10:0)", "[0:0_1:0)", "[1:0_2:0)", "[5:0_5:500000000]", "[9:0_20:0)", "[100:0]"]
_ODD_RANGES = [
    *("_", "()", "(0:0_1:0]", "[5:0]", "[0:0_", "_10:0)", "[10:0_0:0)", "[0:0_0:0)", "(5:0)"),
    *("[-10:0_-5:0)", "[]", "[", "__", "0:0_1:0", "[0:0_1:0", "", "x", "[0:0_1:0)\0", "[٣:0_٤:0)"),
    *("[9223372036:0_9223372036:854775806)", "[-9223372036:854775807_9223372036:854775806)"),
    *("[0:0_99999999999:0)", "[" + "1" * 5000 + ":0]"),
]
_DATES = ["2026-01-01T00:00:00Z", "2000-02-29T23:59:59.999999Z", "2026-01-01T00:00:00+05:30"]
_ODD_DATES = [
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "2026-01-01", "now", ""),
    *("2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "2026-W01-1T00:00:00Z", "1e9", "\0"),
]
_TYPES = ["video/mp2t", "video/h264", "audio/aac", "a/b"]
_ODD_TYPES = [
    *("video/mp2t;x=1", "video", "/", "a/b/c", "", "é/é", "a /b", "a/\0", "text/[x]", 'a/"b"'),
    *("a/b\r\nX: y", "x" * 300 + "/y"),
]
_URLS = ["https://media.example.com/1.ts", "http://h"]
_ODD_URLS = [
    *("ftp://h/x", "https://", "http://h:0/", "http://h:99999/", "http://[::1]/x", "http://["),
    *("javascript:alert(1)", "http://é/", "x" * 5000),
]


def _deep(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


@dataclass(frozen=True)
class Known:
    """Ids and cursors of what there is."""

    ids: Sequence[str]
    cursors: Sequence[str]


class Values:
    """Makes values of input types by chance; every ``1 / odds`` of them does not fit."""

    def __init__(self, chance: random.Random, known: Known, odds: float = 60) -> None:
        self.chance = chance
        self._known = known
        self._odds = odds
        self._scalars: dict[str, Callable[[], Any]] = {
            "Int": lambda: self._mostly(_INTS, _ODD_INTS),
            "BigInt": lambda: self._mostly(_INTS, _ODD_INTS + _HUGE_INTS),
            "Boolean": lambda: chance.random() < 0.5,
            "String": self._text,
            "ID": self._id,
            "Timestamp": lambda: self._mostly(_TIMES, _ODD_TIMES),
            "TimeRange": lambda: self._mostly(_RANGES, _ODD_RANGES),
            "DateTime": lambda: self._mostly(_DATES, _ODD_DATES),
            "MimeType": lambda: self._mostly(_TYPES, _ODD_TYPES),
            "JSON": self._json,
        }

    def of(self, kind: GraphQLInputType, name: str = "", depth: int = 0) -> Any:
        """A value for an argument or input field called ``name``."""
        if self.chance.random() < 1 / self._odds:
            return self.anything()
        if isinstance(kind, GraphQLNonNull):
            return self._given(kind.of_type, name, depth)
        if self.chance.random() < 0.1:
            return None
        return self._given(kind, name, depth)

    def anything(self) -> Any:
        """A JSON value that fits nowhere in particular."""
        chance = self.chance
        kinds: list[Callable[[], Any]] = [
            lambda: None,
            lambda: chance.choice(_ODD_INTS + _HUGE_INTS),
            lambda: chance.choice([0.5, -0.0, 1e308, 1e-300, 1.0, 3e9]),
            lambda: chance.random() < 0.5,
            lambda: chance.choice(_TEXTS),
            list,
            dict,
            lambda: [chance.choice(_TEXTS)] * chance.choice([1, 3, 1001]),
            lambda: {chance.choice(_TEXTS): chance.choice(_TEXTS)},
            lambda: _deep(chance.choice([3, 30, 45, 120])),
        ]
        return chance.choice(kinds)()

    def _given(self, kind: Any, name: str, depth: int) -> Any:
        if isinstance(kind, GraphQLList):
            return self._list(kind, name, depth)
        if isinstance(kind, GraphQLEnumType):
            return Enumerated(self.chance.choice([*kind.values] * 20 + ["NO_SUCH"]))
        if isinstance(kind, GraphQLInputObjectType):
            return self._object(kind, depth)
        if name in ("after", "before") and self._known.cursors:
            return self.chance.choice([*self._known.cursors, "", "x", "AA", "W10", "e30"])
        if name == "url":
            return self._mostly(_URLS, _ODD_URLS)
        if name == "atomic":
            return self.chance.random() < 0.5
        return self._scalars[kind.name]()

    def _list(self, kind: GraphQLList[Any], name: str, depth: int) -> Any:
        if self.chance.random() < 0.02:
            return self.of(kind.of_type, name, depth)  # one item alone is a list too
        count = self.chance.choice([0, 1, 1, 1, 2, 3, 3])
        if depth < 2 and self.chance.random() < 0.01:
            one = self.of(kind.of_type, name, depth + 3)
            return [one] * self.chance.choice([65, 1001, 3000])
        return [self.of(kind.of_type, name, depth) for _ in range(count)]

    def _object(self, kind: GraphQLInputObjectType, depth: int) -> Any:
        names = [*kind.fields]
        if kind.is_one_of:
            chosen = self.chance.sample(names, self.chance.choice([1] * 30 + [0, 2]))
            return {n: self._given(kind.fields[n].type, n, depth + 1) for n in chosen}
        share = 0.5 if depth < 2 else 0.2 if depth < 12 else 0
        found = {
            name: self.of(field.type, name, depth + 1)
            for name, field in kind.fields.items()
            if self._is_given(field, share)
        }
        if self.chance.random() < 1 / self._odds:
            found[self.chance.choice(["", "noSuch", "__proto__", "id"])] = self.anything()
        return found

    def _is_given(self, field: Any, share: float) -> bool:
        if isinstance(field.type, GraphQLNonNull) and field.default_value is Undefined:
            return self.chance.random() > 1 / self._odds
        return self.chance.random() < share

    def _mostly(self, fitting: Sequence[Any], odd: Sequence[Any]) -> Any:
        return self.chance.choice(odd if self.chance.random() < 0.12 else fitting)

    def _text(self) -> str:
        text: str = self._mostly(_WORDS, _TEXTS)
        return text

    def _id(self) -> Any:
        if self._known.ids and self.chance.random() < 0.7:
            return self.chance.choice(self._known.ids)
        return self._mostly([new_id()], [new_id().upper(), *_TEXTS[:8], 7])

    def _json(self) -> Any:
        if self.chance.random() < 0.5:
            return {self._text()[:20]: self.anything() for _ in range(self.chance.randint(0, 3))}
        return self.anything()


class Enumerated(str):
    """The name of an enum's value: written without quotes in a document."""


def literal(value: Any) -> str:
    """A value as it is written in a document."""
    match value:
        case Enumerated():
            return str(value)
        case dict():
            # Keys that are no names cannot be written.
            inner = [
                f"{k}: {literal(v)}" for k, v in value.items() if k.isidentifier() and k.isascii()
            ]
            return "{" + ", ".join(inner) + "}"
        case list():
            return "[" + ", ".join(map(literal, value)) + "]"
        case _:
            return json.dumps(value)


def mutated(value: Any, values: Values) -> Any:
    """The same JSON with something changed somewhere inside."""
    chance = values.chance
    match value:
        case dict() if value and chance.random() < 0.85:
            key = chance.choice([*value])
            changed = {k: v for k, v in value.items() if k != key or chance.random() < 0.9}
            if key in changed:
                changed[key] = mutated(value[key], values)
            return changed
        case list() if value and chance.random() < 0.85:
            at = chance.randrange(len(value))
            many = [mutated(value[at], values)] * chance.choice([0, 1, 1, 1, 2])
            return [*value[:at], *many, *value[at + 1 :]]
        case str() if chance.random() < 0.5:
            cut = chance.randint(0, len(value))
            return value[:cut] + chance.choice(_TEXTS[:20]) + value[cut:]
        case _:
            return values.anything()
