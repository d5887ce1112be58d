-- How the store of photos is doing: what the archiver knows of it and other processes show, and what
-- its next life must not forget.
-- depends: 0004_media

CREATE TABLE store_state (
    name text NOT NULL,
    state text NOT NULL DEFAULT 'ready',
    detail text,
    resumes_at timestamptz,
    -- When all commits of the burst are saved up again; further ahead the more of them are spent.
    commits_full_at timestamptz NOT NULL DEFAULT now(),
    -- A commit was begun, and nobody knows whether it took place.
    in_doubt boolean NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT store_state_pkey PRIMARY KEY (name),
    CONSTRAINT store_state_known CHECK (state IN ('ready', 'throttled', 'refused', 'away')),
    CONSTRAINT store_state_ready_needs_no_reason CHECK (state <> 'ready' OR (detail IS NULL AND resumes_at IS NULL))
) WITH (fillfactor = 50);
