-- Background work. A job that will not be looked at again has no due time.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    object_id TEXT,
    body TEXT NOT NULL,
    due INTEGER,
    owner TEXT,
    attempts INTEGER NOT NULL,
    done_bytes INTEGER,
    total_bytes INTEGER,
    error TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_by_due ON jobs (kind, due, id) WHERE due IS NOT NULL;
CREATE INDEX jobs_by_object ON jobs (object_id, kind, created, id);
