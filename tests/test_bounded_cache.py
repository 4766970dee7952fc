"""What a bounded cache keeps and what it forgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tams_gql.bounded_cache import BoundedCache


def test_the_oldest_goes_first_unless_it_was_used() -> None:
    cache: BoundedCache[str, int] = BoundedCache(max_bytes=100, max_entries=3)
    for number, key in enumerate("abc"):
        cache.put(key, number, 1)
    assert cache.get("a") == 0
    cache.put("d", 3, 1)
    assert [cache.get(key) for key in "abcd"] == [0, None, 2, 3]


def test_one_large_value_does_not_empty_it() -> None:
    cache: BoundedCache[str, int] = BoundedCache(max_bytes=100, max_entries=10)
    cache.put("small", 1, 10)
    cache.put("large", 2, 26)
    assert (cache.get("small"), cache.get("large"), cache.bytes) == (1, None, 10)
    cache.put("small", 3, 26)
    assert (cache.get("small"), len(cache), cache.bytes) == (None, 0, 0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30))),
    st.integers(0, 100),
    st.integers(1, 5),
)
def test_it_keeps_the_latest_that_fit(
    puts: list[tuple[int, int]], max_bytes: int, max_entries: int
) -> None:
    cache: BoundedCache[int, int] = BoundedCache(max_bytes=max_bytes, max_entries=max_entries)
    kept: list[tuple[int, int]] = []
    for key, size in puts:
        cache.put(key, size, size)
        kept = [entry for entry in kept if entry[0] != key]
        if size * 4 <= max_bytes:
            kept.append((key, size))
        while len(kept) > max_entries or sum(size for _, size in kept) > max_bytes:
            kept.pop(0)
        assert cache.bytes == sum(size for _, size in kept)
        assert len(cache) == len(kept)
    for key in range(10):
        assert cache.get(key) == dict(kept).get(key)
