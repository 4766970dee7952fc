"""How the VAST cluster is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class VastConfig:
    """Connection to one database schema of a cluster.

    ``endpoints`` are URLs of the cluster, used in turn and without proxies; one that does not
    answer is left alone for some seconds. ``timeout_seconds`` bounds every wait for the cluster.
    ``verify_tls`` may be the path of a file with certificate authorities. ``reads="direct"`` reads
    single calls without a transaction. ``plain_queries`` sends selects through the public interface
    of the SDK, which costs several times the processor time.
    """

    endpoints: tuple[str, ...]
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    schema: str = "tams"
    timeout_seconds: float = 30
    read_threads: int = 8
    write_threads: int = 4
    verify_tls: bool | str = True
    isolation: Literal["auto", "snapshot", "read_committed"] = "auto"
    conflicts: Literal["auto", "row", "none"] = "auto"
    reads: Literal["transaction", "direct"] = "transaction"
    plain_queries: bool = False
