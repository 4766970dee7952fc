"""The default catalog store: one SQLite file, nothing to install.

Several processes may share the file. Reads run in worker threads, each request on one snapshot;
writes go through one queue per process that commits what has gathered in one transaction.
"""

from tams_gql.store.embedded.migrate import check, migrate
from tams_gql.store.embedded.store import EmbeddedStore

__all__ = ["EmbeddedStore", "check", "migrate"]
