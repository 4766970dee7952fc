"""Selects: one query per page, sent and read without the SDK's machinery.

The SDK's own ``select`` opens a thread pool and a new connection each time. Here a page is one
call over a pooled connection. A page is taken whole or not at all: if its answer is cut off it is
asked for again from the same cursor, so that no row is lost or read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from tams_gql.model.errors import LimitExceeded, Unavailable
from tams_gql.store.vast.config import VastConfig
from tams_gql.store.vast.layout import ROW_ID, Physical
from tams_gql.store.vast.wire.cluster import Cluster, Endpoint
from tams_gql.store.vast.wire.domains import Domain, Filter, Span
from tams_gql.store.vast.wire.matching import matching
from tams_gql.store.vast.wire.outcomes import Lost
from tams_gql.store.vast.wire.request import MAX_REQUEST_BYTES, fields_of, query_body
from tams_gql.store.vast.wire.response import EXHAUSTED, Cut, Page, Unreadable, parse_page

if TYPE_CHECKING:
    from tams_gql.store.vast.wire.plain import PlainQueries
    from tams_gql.store.vast.wire.transport import Api

T = TypeVar("T")

# Of one select: it is held in memory.
MAX_ROWS = 2_000_000
MAX_BYTES = 1 << 30
# Longer lists are cut and asked for side by side.
MAX_LITERALS = 5_000  # of one query: 20 ms to write
MAX_SDK_LITERALS = 300  # of one query that the SDK writes, which takes it ten times as long
_LIST_BYTES = 2**20  # what the values of one list may take together, lest the request be too long
_SIDE_BY_SIDE = 4
_PAGE_ROWS = 128 * 1024  # what the SDK asks for at a time


@dataclass(frozen=True, slots=True)
class Query:
    """A select in a transaction: the columns to send, ``$row_id`` last if it is wanted."""

    txid: int
    table: Physical
    columns: tuple[str, ...]
    wanted: Filter


def parts_of(query: Query, most: int) -> list[Query]:
    """The query, or several without common rows where one list has more than ``most`` values."""
    pushed = query.wanted.pushed
    longest = max(pushed, key=lambda domain: len(domain.spans), default=None)
    if longest is None or len(longest.spans) <= MAX_SDK_LITERALS:
        return [query]
    rest = tuple(domain for domain in pushed if domain is not longest)
    return [
        replace(query, wanted=Filter((part, *rest), query.wanted.checked))
        for part in _cut(longest, most)
    ]


def _cut(domain: Domain, most: int) -> list[Domain]:
    spans = domain.spans
    largest = max(_bytes_of(span) for span in spans)
    most = max(1, min(most, _LIST_BYTES // largest))
    parts = [replace(domain, spans=spans[i : i + most]) for i in range(0, len(spans), most)]
    # What else the column may be belongs to the first part only; text that both lies in a span
    # and contains a needle would come back twice, so such domains stay whole.
    others = [replace(part, nulls=False) for part in parts[1:]]
    return [domain] if domain.needles else [parts[0], *others]


def _bytes_of(span: Span) -> int:
    return sum(len(bound) if isinstance(bound, bytes) else 8 for bound in span)


class Selects:
    """The queries of one client. Thread-safe.

    Calls raise ``Lost``, ``Refused``, ``Unavailable`` or ``LimitExceeded``.
    """

    def __init__(self, cluster: Cluster, config: VastConfig) -> None:
        self._cluster = cluster
        self._config = config
        self._most = MAX_SDK_LITERALS if config.plain_queries else MAX_LITERALS
        self._lock = Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._plain: PlainQueries | None = None

    def rows(self, at: Endpoint, query: Query) -> pa.Table:
        """The rows, exactly: what the cluster cannot check is checked here."""
        found = self._side_by_side(self._rows, at, parts_of(query, self._most))
        if sum(table.num_rows for table in found) > MAX_ROWS:
            raise _too_many(query)
        return found[0] if len(found) == 1 else pa.concat_tables(found)

    def count(self, at: Endpoint, query: Query) -> int:
        """How many rows there are; only their number travels if the cluster checks everything."""
        if query.wanted.checked:
            columns = (query.wanted.checked[0].column,)
            return len(self.rows(at, replace(query, columns=columns)))
        parts = parts_of(replace(query, columns=()), self._most)
        return sum(self._side_by_side(self._count, at, parts))

    def close(self) -> None:
        """Finish what is under way and release threads and connections."""
        with self._lock:
            threads, plain = self._threads, self._plain
            self._threads = self._plain = None
        if threads is not None:
            threads.shutdown()
        if plain is not None:
            plain.close()

    def _side_by_side(
        self, work: Callable[[Endpoint, Query], T], at: Endpoint, parts: list[Query]
    ) -> list[T]:
        if len(parts) == 1:
            return [work(at, parts[0])]
        # The transaction is known to the whole cluster, so parts may go to other endpoints.
        places = [self._cluster.choose() for _ in parts]
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_SIDE_BY_SIDE, "vast-part")
            submit = self._threads.submit
            futures = [submit(work, *each) for each in zip(places, parts, strict=True)]
        wait(futures)
        return [future.result() for future in futures]

    def _rows(self, at: Endpoint, query: Query) -> pa.Table:
        checked = [d.column for d in query.wanted.checked if d.column not in query.columns]
        ids = [name for name in query.columns if name == ROW_ID]
        names = [name for name in query.columns if name != ROW_ID]
        wide = replace(query, columns=tuple(dict.fromkeys((*names, *checked, *ids))))
        if self._config.plain_queries:
            found, wanted = self._plain_rows(at, wide)
        else:
            found, wanted = self._paged_rows(at, wide), query.wanted
        if wanted.checked:
            found = matching(found, wanted.checked)
        columns = list(query.columns)
        return found if found.column_names == columns else found.select(columns)

    def _paged_rows(self, at: Endpoint, query: Query) -> pa.Table:
        fields = fields_of(query.table, query.columns)
        pages = self._pages(at, query, fields)
        arrays = [
            pa.chunked_array([batch for page in pages for batch in page.columns[i]], field.type)
            for i, field in enumerate(fields)
        ]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def _count(self, at: Endpoint, query: Query) -> int:
        if self._config.plain_queries:
            found, wanted = self._plain_rows(at, query)
            return len(matching(found, wanted.checked))
        return sum(page.rows for page in self._pages(at, query, ()))

    def _plain_rows(self, at: Endpoint, query: Query) -> tuple[pa.Table, Filter]:
        with self._lock:
            if self._plain is None:
                # Imported at first use: the SDK takes more than a second.
                from tams_gql.store.vast.wire.plain import PlainQueries

                self._plain = PlainQueries(self._config)
            plain = self._plain
        table, columns = query.table, query.columns

        def ask(api: Api) -> tuple[pa.Table, Filter]:
            url = str(api.endpoints[0])
            return plain.select(url, query.txid, table, columns, query.wanted, MAX_ROWS)

        return self._cluster.call(ask, at, repeat=True)

    def _pages(self, at: Endpoint, query: Query, fields: Sequence[pa.Field]) -> list[Page]:
        body = query_body(query.table, query.columns, query.wanted)
        if len(body) > MAX_REQUEST_BYTES:
            raise LimitExceeded(
                f"a query of {len(body)} bytes exceeds the {MAX_REQUEST_BYTES} that VAST takes"
            )
        pages: list[Page] = []
        cursor = rows = size = 0
        while cursor != EXHAUSTED:
            page = self._page(at, partial(self._ask, query, body, fields, cursor))
            rows += page.rows
            size += page.size
            if fields and rows > MAX_ROWS:
                raise _too_many(query)
            if fields and size > MAX_BYTES:
                raise LimitExceeded(
                    f"what was asked of {query.table.name} exceeds {MAX_BYTES} bytes, the limit of"
                    " one read"
                )
            if page.cursor == cursor:
                raise Unavailable("the VAST cluster does not get on with a query")
            pages.append(page)
            cursor = page.cursor
        return pages

    def _page(self, at: Endpoint, ask: Callable[[Api], Page]) -> Page:
        try:
            return self._cluster.call(ask, at, repeat=True)
        except Unreadable as error:
            raise Unavailable(f"the VAST cluster gave no answer to a query: {error}") from error

    def _ask(
        self, query: Query, body: bytes, fields: Sequence[pa.Field], cursor: int, api: Api
    ) -> Page:
        reply = api.query_data(
            self._config.bucket,
            self._config.schema,
            query.table.name,
            body,
            txid=query.txid,
            limit_rows=_PAGE_ROWS,
            # Nothing says that a projection has what is committed: no answer may rest on one.
            enable_sorted_projections=False,
            sub_split_start_row_ids=[(0, cursor)],
        )
        try:
            return parse_page(reply.content, fields)
        except Cut as error:
            raise Lost("the answer was cut off") from error


def _too_many(query: Query) -> LimitExceeded:
    return LimitExceeded(
        f"more than {MAX_ROWS} rows of {query.table.name} match, the limit of one read"
    )
