"""Counters of what the process has done."""

from __future__ import annotations

import pytest

from tams_gql.metrics import COUNTERS, Counter


def test_a_counter_counts_by_its_labels() -> None:
    counter = Counter("things_total", "Things.", "kind", "outcome")
    counter.add("a", "ok")
    counter.add("a", "ok", by=4)
    counter.add("b", "failed")
    assert (counter.get("a", "ok"), counter.get("b", "ok")) == (5, 0)
    assert counter.all() == {("a", "ok"): 5, ("b", "failed"): 1}
    with pytest.raises(ValueError, match="has the labels"):
        counter.add("a")


def test_names_are_unique_and_those_of_counters() -> None:
    names = [counter.name for counter in COUNTERS]
    assert len(set(names)) == len(names)
    assert all(name.startswith("tams_") and name.endswith("_total") for name in names)
