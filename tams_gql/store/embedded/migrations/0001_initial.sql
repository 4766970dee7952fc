-- Ids are text, media times nanoseconds, record times microseconds UTC, flags 0 or 1.

CREATE TABLE sources (
    id TEXT PRIMARY KEY,
    format TEXT NOT NULL,
    label TEXT,
    description TEXT,
    tags TEXT,
    created_by TEXT,
    updated_by TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    version INTEGER NOT NULL,
    search TEXT,
    explicit INTEGER NOT NULL,
    flow_count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sources_by_created ON sources (created, id);
CREATE INDEX sources_by_updated ON sources (updated, id);
CREATE INDEX sources_by_label ON sources (label, id);

CREATE TABLE flows (
    id TEXT PRIMARY KEY,
    source_id TEXT NOT NULL,
    format TEXT NOT NULL,
    label TEXT,
    description TEXT,
    tags TEXT,
    codec TEXT,
    container TEXT,
    status TEXT,
    read_only INTEGER NOT NULL,
    generation INTEGER,
    avg_bit_rate INTEGER,
    max_bit_rate INTEGER,
    frame_width INTEGER,
    frame_height INTEGER,
    sample_rate INTEGER,
    channels INTEGER,
    init_segments INTEGER,
    profile_id TEXT,
    metadata_version TEXT,
    created_by TEXT,
    updated_by TEXT,
    created INTEGER NOT NULL,
    metadata_updated INTEGER NOT NULL,
    version INTEGER NOT NULL,
    search TEXT,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX flows_by_source ON flows (source_id, created, id);
CREATE INDEX flows_by_created ON flows (created, id);
CREATE INDEX flows_by_metadata_updated ON flows (metadata_updated, id);
CREATE INDEX flows_by_label ON flows (label, id);
CREATE INDEX flows_by_profile ON flows (profile_id, created, id) WHERE profile_id IS NOT NULL;

CREATE TABLE flow_counters (
    flow_id TEXT PRIMARY KEY,
    segment_count INTEGER NOT NULL,
    duration_ns INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    min_start_ns INTEGER,
    max_end_ns INTEGER,
    longest_ns INTEGER NOT NULL,
    segments_updated INTEGER
) STRICT, WITHOUT ROWID;

-- Clustered: a window of one flow is one contiguous run of the tree.
CREATE TABLE segments (
    flow_id TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    object_id TEXT NOT NULL,
    timerange TEXT NOT NULL,
    ts_offset_ns INTEGER NOT NULL,
    last_duration_ns INTEGER,
    sample_offset INTEGER,
    sample_count INTEGER,
    key_frame_count INTEGER,
    size INTEGER,
    tags TEXT,
    created INTEGER NOT NULL,
    PRIMARY KEY (flow_id, start_ns),
    CHECK (end_ns > start_ns)
) STRICT, WITHOUT ROWID;
CREATE INDEX segments_by_object ON segments (object_id, flow_id, start_ns);

CREATE TABLE objects (
    id TEXT PRIMARY KEY,
    role TEXT,
    size INTEGER,
    content_type TEXT,
    timerange TEXT,
    start_ns INTEGER,
    end_ns INTEGER,
    init_object_id TEXT,
    key_frame_count INTEGER,
    instances TEXT NOT NULL,
    created INTEGER NOT NULL,
    registered INTEGER,
    expires INTEGER,
    allocated_flow_id TEXT,
    first_flow_id TEXT,
    ref_count INTEGER NOT NULL,
    orphaned INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_by_created ON objects (created, id);
CREATE INDEX objects_by_init ON objects (init_object_id, id) WHERE init_object_id IS NOT NULL;
CREATE INDEX objects_by_expiry ON objects (expires, id) WHERE expires IS NOT NULL;
CREATE INDEX objects_by_orphaned ON objects (orphaned, id) WHERE orphaned IS NOT NULL;

CREATE TABLE storage_backends (
    id TEXT PRIMARY KEY,
    label TEXT,
    body TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE profiles (
    id TEXT PRIMARY KEY,
    format TEXT NOT NULL,
    codec TEXT,
    label TEXT,
    description TEXT,
    tags TEXT,
    created_by TEXT,
    created INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX profiles_by_created ON profiles (created, id);

CREATE TABLE collections (
    parent_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    child_id TEXT NOT NULL,
    role TEXT,
    mapping TEXT,
    parent_source_id TEXT NOT NULL,
    child_source_id TEXT NOT NULL,
    PRIMARY KEY (parent_id, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX collections_by_child ON collections (child_id, parent_id);
CREATE INDEX collections_by_parent_source ON collections (parent_source_id, position);
CREATE INDEX collections_by_child_source ON collections (child_source_id);

-- Search index of the tags columns: one row a value, or one with ordinal -1 for an empty list.
CREATE TABLE tag_index (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (kind, name, value, ordinal, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_index_by_resource ON tag_index (kind, id);

-- Substring search over the `search` columns. Trigrams of text that is case-folded already; terms of
-- fewer than three characters scan the column instead.
CREATE TABLE search_rows (
    row INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    UNIQUE (kind, id)
) STRICT;
CREATE VIRTUAL TABLE search_text USING fts5 (text, tokenize = 'trigram case_sensitive 1');

CREATE TRIGGER sources_search_insert AFTER INSERT ON sources WHEN new.search IS NOT NULL BEGIN
    INSERT INTO search_rows (kind, id) VALUES ('sources', new.id);
    INSERT INTO search_text (rowid, text)
        SELECT row, new.search FROM search_rows WHERE kind = 'sources' AND id = new.id;
END;
CREATE TRIGGER sources_search_delete AFTER DELETE ON sources BEGIN
    DELETE FROM search_text
        WHERE rowid = (SELECT row FROM search_rows WHERE kind = 'sources' AND id = old.id);
    DELETE FROM search_rows WHERE kind = 'sources' AND id = old.id;
END;
CREATE TRIGGER sources_search_update AFTER UPDATE OF search ON sources
WHEN new.search IS NOT old.search BEGIN
    INSERT OR IGNORE INTO search_rows (kind, id) VALUES ('sources', new.id);
    DELETE FROM search_text
        WHERE rowid = (SELECT row FROM search_rows WHERE kind = 'sources' AND id = new.id);
    INSERT INTO search_text (rowid, text)
        SELECT row, new.search FROM search_rows
        WHERE kind = 'sources' AND id = new.id AND new.search IS NOT NULL;
END;
CREATE TRIGGER flows_search_insert AFTER INSERT ON flows WHEN new.search IS NOT NULL BEGIN
    INSERT INTO search_rows (kind, id) VALUES ('flows', new.id);
    INSERT INTO search_text (rowid, text)
        SELECT row, new.search FROM search_rows WHERE kind = 'flows' AND id = new.id;
END;
CREATE TRIGGER flows_search_delete AFTER DELETE ON flows BEGIN
    DELETE FROM search_text
        WHERE rowid = (SELECT row FROM search_rows WHERE kind = 'flows' AND id = old.id);
    DELETE FROM search_rows WHERE kind = 'flows' AND id = old.id;
END;
CREATE TRIGGER flows_search_update AFTER UPDATE OF search ON flows
WHEN new.search IS NOT old.search BEGIN
    INSERT OR IGNORE INTO search_rows (kind, id) VALUES ('flows', new.id);
    DELETE FROM search_text
        WHERE rowid = (SELECT row FROM search_rows WHERE kind = 'flows' AND id = new.id);
    INSERT INTO search_text (rowid, text)
        SELECT row, new.search FROM search_rows
        WHERE kind = 'flows' AND id = new.id AND new.search IS NOT NULL;
END;

-- What a client's idempotency key did.
CREATE TABLE receipts (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    response TEXT NOT NULL,
    position TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_by_created ON receipts (created);

-- AUTOINCREMENT: a position is never used twice, also after retention has emptied the log.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    created INTEGER NOT NULL,
    source_id TEXT,
    flow_id TEXT,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE service (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
