"""Costs as formulas over the variables of an operation.

A document is analysed once; what depends on variables stays open until a request brings them. All
arithmetic stops at ``CEILING``, so that no document makes numbers that are slow to handle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from tams_gql.schema.limits.bounds import CEILING

Variables: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """An amount that is known when the variables are: the place of its step in the formula."""

    index: int


Amount: TypeAlias = int | Slot


class Reading(Protocol):
    """Something that variables decide. Equal readings are one step, so they are hashable."""

    def value(self, variables: Variables) -> int:
        """The amount for these variables, not negative."""


@dataclass(frozen=True, slots=True)
class _Sum:
    fixed: int
    terms: tuple[int, ...]

    def value(self, values: list[int], _: Variables) -> int:
        total = self.fixed
        for term in self.terms:
            total += values[term]
        return total


@dataclass(frozen=True, slots=True)
class _Product:
    factor: int
    terms: tuple[int, ...]

    def value(self, values: list[int], _: Variables) -> int:
        total = self.factor
        for term in self.terms:
            total *= values[term]
        return total


@dataclass(frozen=True, slots=True)
class _Most:
    fixed: int
    terms: tuple[int, ...]

    def value(self, values: list[int], _: Variables) -> int:
        return max(self.fixed, *(values[term] for term in self.terms))


@dataclass(frozen=True, slots=True)
class _Read:
    reading: Reading

    def value(self, _: list[int], variables: Variables) -> int:
        return self.reading.value(variables)


_Step: TypeAlias = _Sum | _Product | _Most | _Read


class Formula:
    """Steps in the order in which they can be computed; equal steps are one."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._slots: dict[_Step, Slot] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def read(self, reading: Reading) -> Amount:
        """The amount that variables decide."""
        return self._slot(_Read(reading))

    def plus(self, amounts: Iterable[Amount]) -> Amount:
        """The sum."""
        known, open_ = _split(amounts)
        fixed = min(sum(known), CEILING)
        if not open_:
            return fixed
        if fixed == 0 and len(open_) == 1:
            return Slot(open_[0])
        return self._slot(_Sum(fixed, tuple(open_)))

    def times(self, one: Amount, other: Amount) -> Amount:
        """The product."""
        known, open_ = _split((one, other))
        factor = 1
        for amount in known:
            factor = min(factor * amount, CEILING)
        if not open_ or factor == 0:
            return factor
        if factor == 1 and len(open_) == 1:
            return Slot(open_[0])
        return self._slot(_Product(factor, tuple(open_)))

    def most(self, amounts: Iterable[Amount]) -> Amount:
        """The greatest, 0 of none."""
        known, open_ = _split(amounts)
        fixed, distinct = max(known, default=0), sorted(set(open_))
        if not distinct:
            return fixed
        if fixed == 0 and len(distinct) == 1:
            return Slot(distinct[0])
        return self._slot(_Most(fixed, tuple(distinct)))

    def value(self, amount: Amount, variables: Variables) -> int:
        """The amount, at most ``CEILING``."""
        if isinstance(amount, int):
            return amount
        values: list[int] = []
        for step in self._steps:
            value = step.value(values, variables)
            values.append(value if value < CEILING else CEILING)
        return values[amount.index]

    def _slot(self, step: _Step) -> Slot:
        slot = self._slots.get(step)
        if slot is None:
            slot = self._slots[step] = Slot(len(self._steps))
            self._steps.append(step)
        return slot


def _split(amounts: Iterable[Amount]) -> tuple[list[int], list[int]]:
    known: list[int] = []
    open_: list[int] = []
    for amount in amounts:
        if isinstance(amount, int):
            known.append(amount)
        else:
            open_.append(amount.index)
    return known, open_
