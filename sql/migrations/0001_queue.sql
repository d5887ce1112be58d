-- The queue: what can run, what waits, what runs and what gave up, each in a table of its own.
-- depends:

CREATE SEQUENCE task_seq CACHE 1;
CREATE SEQUENCE task_epoch CACHE 100;

CREATE TABLE task (
    id bigint GENERATED ALWAYS AS IDENTITY,
    lane text NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    item uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT task_pkey PRIMARY KEY (id),
    CONSTRAINT task_lane_named CHECK (lane ~ '^[a-z_]{1,40}$')
);
CREATE INDEX task_item_idx ON task (item) WHERE item IS NOT NULL;

CREATE TABLE task_ready (
    lane text NOT NULL,
    seq bigint NOT NULL,
    task_id bigint NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    crashes integer NOT NULL DEFAULT 0,
    CONSTRAINT task_ready_pkey PRIMARY KEY (lane, seq)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
);

CREATE TABLE task_scheduled (
    task_id bigint NOT NULL,
    lane text NOT NULL,
    run_at timestamptz NOT NULL,
    attempt integer NOT NULL,
    crashes integer NOT NULL,
    error text,
    CONSTRAINT task_scheduled_pkey PRIMARY KEY (task_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX task_scheduled_run_at_idx ON task_scheduled (run_at);

CREATE TABLE task_lease (
    task_id bigint NOT NULL,
    lane text NOT NULL,
    seq bigint NOT NULL,
    boot bigint NOT NULL,
    epoch bigint NOT NULL,
    attempt integer NOT NULL,
    crashes integer NOT NULL,
    deadline_at timestamptz NOT NULL,
    CONSTRAINT task_lease_pkey PRIMARY KEY (task_id)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off
);

CREATE TABLE task_dead (
    task_id bigint NOT NULL,
    lane text NOT NULL,
    attempt integer NOT NULL,
    crashes integer NOT NULL,
    error text NOT NULL,
    died_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT task_dead_pkey PRIMARY KEY (task_id)
);
