-- Nodes, their actors with a heartbeat each, mailboxes, and what the machine was doing.
-- depends: 0001_queue

-- A supervisor takes a block of boot ids when it starts, so that it can name a new process while
-- the database is away, and so that a later process always has the higher id.
CREATE SEQUENCE boot_block INCREMENT BY 1000000 START WITH 1000000;

CREATE TABLE node (
    name text NOT NULL,
    pid integer NOT NULL,
    state text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    beat_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT node_pkey PRIMARY KEY (name),
    CONSTRAINT node_state_known CHECK (state IN ('starting', 'running', 'degraded', 'stopping'))
) WITH (fillfactor = 50);

CREATE TABLE actor (
    node text NOT NULL,
    name text NOT NULL,
    label text NOT NULL,
    kind text NOT NULL,
    boot bigint NOT NULL,
    pid integer NOT NULL,
    state text NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    current_task_id bigint,
    current_task_status text,
    current_task_progress real,
    restarts integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    beat_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT actor_pkey PRIMARY KEY (node, name),
    CONSTRAINT actor_state_known CHECK (state IN ('starting', 'ready', 'stopping', 'gone', 'drained'))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE actor_day (
    label text NOT NULL,
    day date NOT NULL,
    done bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    CONSTRAINT actor_day_pkey PRIMARY KEY (label, day)
) WITH (fillfactor = 50);

CREATE TABLE message (
    id bigint GENERATED ALWAYS AS IDENTITY,
    recipient text NOT NULL,
    verb text NOT NULL,
    argument text,
    sent_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT message_pkey PRIMARY KEY (id),
    CONSTRAINT message_verb_known CHECK (verb IN ('pause', 'resume', 'drain', 'restart', 'log_level'))
);
CREATE INDEX message_recipient_idx ON message (recipient, id);

CREATE TABLE machine_sample (
    node text NOT NULL,
    sampled_at timestamptz NOT NULL DEFAULT now(),
    cpu_percent real NOT NULL,
    memory_percent real NOT NULL,
    CONSTRAINT machine_sample_pkey PRIMARY KEY (node, sampled_at)
);
