"""A domain as the comparisons that the cluster knows."""

from __future__ import annotations

from tams_gql.store.vast.wire.domains import Domain, Key, Span

Comparison = tuple[str, Key]  # name of the function, literal; None for the null tests
Alternative = tuple[Comparison, ...]  # one comparison, or two ends of a range that both must hold

IS_NULL: Alternative = (("is_null", None),)
IS_VALID: Alternative = (("is_valid", None),)


def alternatives(domain: Domain) -> list[Alternative]:
    """The comparisons of which one must hold. Never empty: there are no domains without values."""
    found: list[Alternative] = [IS_NULL] if domain.nulls else []
    found += [(("match_substring", needle),) for needle in domain.needles]
    if (gap := _gap(domain)) is not None:
        return [*found, (("not_equal", gap),)]
    return found + [_span(domain.whole, span) for span in domain.spans]


def _gap(domain: Domain) -> Key:
    """The only value that is not in the spans, if that is what they say."""
    if len(domain.spans) != 2:
        return None
    (start, gap), (after, end) = domain.spans
    return gap if (start, end) == domain.whole and _is_point(gap, after) else None


def _is_point(start: Key, end: Key) -> bool:
    if isinstance(start, bytes):
        return isinstance(end, bytes) and len(end) == len(start) + 1 and end == start + b"\0"
    return bool(end == start + 1)


def _span(whole: Span, span: Span) -> Alternative:
    start, end = span
    if _is_point(start, end):
        return (("equal", start),)
    if end == whole[1]:
        return IS_VALID if start == whole[0] else (_from(start),)
    if start == whole[0]:
        return (_until(end),)
    # BETWEEN and STARTS WITH are the only pairs that clients of the vendor send.
    if isinstance(end, int):
        return (("greater_equal", start), ("less_equal", end - 1))
    if end.endswith(b"\0"):
        return (("greater_equal", start), ("less_equal", end[:-1]))
    return (("greater_equal", start), ("less", end))


def _from(start: Key) -> Comparison:
    if isinstance(start, bytes) and start.endswith(b"\0"):
        return "greater", start[:-1]
    return "greater_equal", start


def _until(end: Key) -> Comparison:
    if isinstance(end, bytes) and end.endswith(b"\0"):
        return "less_equal", end[:-1]
    return "less", end
