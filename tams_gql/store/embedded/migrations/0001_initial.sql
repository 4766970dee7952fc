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

-- AUTOINCREMENT: a position is never used twice, also after retention has emptied the log.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL,
    created INTEGER NOT NULL,
    source_id TEXT,
    flow_id TEXT,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_created ON events (created);

CREATE TABLE service (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
