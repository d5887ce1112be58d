-- Photos: the row, the bytes until they are stored, what was found, and every change of status.
-- depends: 0003_users

CREATE TABLE media (
    id uuid NOT NULL,
    user_id text NOT NULL,
    filename text NOT NULL,
    content_type text NOT NULL,
    size_bytes bigint NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    status text NOT NULL,
    store_path text NOT NULL,
    stored_at timestamptz,
    assigned_worker text,
    lat double precision,
    lng double precision,
    altitude double precision,
    address text,
    technical_metadata jsonb NOT NULL DEFAULT '{}',
    has_trash boolean,
    confidence double precision,
    failed_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT media_pkey PRIMARY KEY (id),
    CONSTRAINT media_user_id_fkey FOREIGN KEY (user_id) REFERENCES app_user (id) ON DELETE CASCADE,
    CONSTRAINT media_status_known CHECK (
        status IN ('PENDING', 'UPLOADED', 'EXTRACTING', 'PROCESSING', 'READY', 'FAILED')
    ),
    CONSTRAINT media_stored_before_analysis CHECK (status IN ('PENDING', 'FAILED') OR stored_at IS NOT NULL),
    CONSTRAINT media_failed_has_reason CHECK ((status = 'FAILED') = (failed_reason IS NOT NULL)),
    CONSTRAINT media_place_is_whole CHECK ((lat IS NULL) = (lng IS NULL)),
    CONSTRAINT media_place_on_earth CHECK (lat BETWEEN -90 AND 90 AND lng BETWEEN -180 AND 180),
    CONSTRAINT media_confidence_percent CHECK (confidence BETWEEN 0 AND 100),
    CONSTRAINT media_size_positive CHECK (size_bytes > 0 AND width > 0 AND height > 0)
) WITH (fillfactor = 85);
CREATE INDEX media_user_created_idx ON media (user_id, created_at DESC, id DESC);
CREATE INDEX media_user_place_idx ON media (user_id, lat, lng) WHERE lat IS NOT NULL;
CREATE INDEX media_unfinished_idx ON media (status, updated_at)
    WHERE status IN ('PENDING', 'UPLOADED', 'EXTRACTING', 'PROCESSING');

-- The bytes, in parts of 1 MiB, so that neither side ever holds a whole photo in one value.
CREATE TABLE media_blob (
    media_id uuid NOT NULL,
    part integer NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT media_blob_pkey PRIMARY KEY (media_id, part),
    CONSTRAINT media_blob_media_id_fkey FOREIGN KEY (media_id) REFERENCES media (id) ON DELETE CASCADE
);
ALTER TABLE media_blob ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE media_thumbnail (
    media_id uuid NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT media_thumbnail_pkey PRIMARY KEY (media_id),
    CONSTRAINT media_thumbnail_media_id_fkey FOREIGN KEY (media_id) REFERENCES media (id) ON DELETE CASCADE
);
ALTER TABLE media_thumbnail ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE TABLE detection (
    id bigint GENERATED ALWAYS AS IDENTITY,
    media_id uuid NOT NULL,
    label text NOT NULL,
    confidence double precision NOT NULL,
    x double precision NOT NULL,
    y double precision NOT NULL,
    w double precision NOT NULL,
    h double precision NOT NULL,
    area_sqm double precision,
    CONSTRAINT detection_pkey PRIMARY KEY (id),
    CONSTRAINT detection_media_id_fkey FOREIGN KEY (media_id) REFERENCES media (id) ON DELETE CASCADE,
    CONSTRAINT detection_confidence_share CHECK (confidence BETWEEN 0 AND 1),
    CONSTRAINT detection_box_inside CHECK (x BETWEEN 0 AND 1 AND y BETWEEN 0 AND 1 AND w BETWEEN 0 AND 1 AND h BETWEEN 0 AND 1)
);
CREATE INDEX detection_media_id_idx ON detection (media_id);

-- One counter a user. Its row lock makes the order of a user's `seq` the order of their commits.
CREATE TABLE feed (
    user_id text NOT NULL,
    seq bigint NOT NULL DEFAULT 0,
    CONSTRAINT feed_pkey PRIMARY KEY (user_id),
    CONSTRAINT feed_user_id_fkey FOREIGN KEY (user_id) REFERENCES app_user (id) ON DELETE CASCADE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE media_log (
    user_id text NOT NULL,
    seq bigint NOT NULL,
    media_id uuid NOT NULL,
    status text NOT NULL,
    action text NOT NULL,
    message text NOT NULL,
    worker_name text,
    logged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT media_log_pkey PRIMARY KEY (user_id, seq),
    CONSTRAINT media_log_media_id_fkey FOREIGN KEY (media_id) REFERENCES media (id) ON DELETE CASCADE
);
CREATE INDEX media_log_media_id_idx ON media_log (media_id, seq);
