-- What was measured: the machine, requests, sessions and what actors did, all by keys that need no timer.
-- depends: 0004_media

-- Said by every beat of an actor.
ALTER TABLE actor
    ADD COLUMN loop_lag_s real NOT NULL DEFAULT 0,
    ADD COLUMN pool_in_use integer NOT NULL DEFAULT 0,
    ADD COLUMN open_sockets integer NOT NULL DEFAULT 0;

-- What an actor has done since the beginning. It outlives node and process, so it never goes back. The
-- bounds of the buckets are in hyperion/histogram.py.
CREATE TABLE actor_total (
    label text NOT NULL,
    restarts bigint NOT NULL DEFAULT 0,
    lane text,
    done bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    duration_s double precision NOT NULL DEFAULT 0,
    buckets bigint[] NOT NULL DEFAULT '{}',
    counted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT actor_total_pkey PRIMARY KEY (label)
) WITH (fillfactor = 50);

INSERT INTO actor_total (label, lane, done, failed)
SELECT label, 'analyse', sum(done), sum(failed)
FROM actor_day
GROUP BY label;

-- Who writes behind, in batches, numbers them. A batch whose answer was lost is sent again under its
-- number and changes nothing the second time.
CREATE TABLE batch (
    source text NOT NULL,
    number bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT batch_pkey PRIMARY KEY (source)
) WITH (fillfactor = 50);

ALTER TABLE machine_sample
    ADD COLUMN source text NOT NULL DEFAULT 'psutil',
    ADD COLUMN covered_s real NOT NULL DEFAULT 10;

-- Sums weighted by the seconds they cover: a mean is cpu_s / covered_s.
CREATE TABLE machine_history (
    grain text NOT NULL,
    start_at timestamptz NOT NULL,
    node text NOT NULL,
    covered_s double precision NOT NULL,
    cpu_s double precision NOT NULL,
    memory_s double precision NOT NULL,
    pressure_s double precision NOT NULL,
    CONSTRAINT machine_history_pkey PRIMARY KEY (grain, start_at, node),
    CONSTRAINT machine_history_grain_known CHECK (grain IN ('minute', 'hour', 'day'))
) WITH (fillfactor = 50);

INSERT INTO machine_history (grain, start_at, node, covered_s, cpu_s, memory_s, pressure_s)
SELECT
    g.grain,
    date_trunc(g.grain, s.sampled_at, 'UTC'),
    s.node,
    sum(s.covered_s),
    sum(s.cpu_percent * s.covered_s),
    sum(s.memory_percent * s.covered_s),
    sum(greatest(s.cpu_percent, s.memory_percent) * s.covered_s)
FROM machine_sample AS s
CROSS JOIN (VALUES ('minute'), ('hour'), ('day')) AS g (grain)
GROUP BY g.grain, date_trunc(g.grain, s.sampled_at, 'UTC'), s.node;

CREATE TABLE request_total (
    route text NOT NULL,
    method text NOT NULL,
    status integer NOT NULL,
    requests bigint NOT NULL,
    duration_s double precision NOT NULL,
    buckets bigint[] NOT NULL,
    CONSTRAINT request_total_pkey PRIMARY KEY (route, method, status)
) WITH (fillfactor = 50);

CREATE TABLE request_slot (
    slot_at timestamptz NOT NULL,
    requests bigint NOT NULL,
    duration_s double precision NOT NULL,
    CONSTRAINT request_slot_pkey PRIMARY KEY (slot_at)
) WITH (fillfactor = 50);

CREATE TABLE upload_total (
    result text NOT NULL,
    files bigint NOT NULL,
    CONSTRAINT upload_total_pkey PRIMARY KEY (result)
) WITH (fillfactor = 50);

-- No foreign keys to users: these rows are written behind, and a user who was deleted meanwhile must
-- not spoil the batch. They go by age.
CREATE TABLE web_session (
    id text NOT NULL,
    user_id text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT web_session_pkey PRIMARY KEY (id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE session_sight (
    seen_at timestamptz NOT NULL,
    session_id text NOT NULL,
    CONSTRAINT session_sight_pkey PRIMARY KEY (seen_at, session_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE user_day (
    day date NOT NULL,
    user_id text NOT NULL,
    CONSTRAINT user_day_pkey PRIMARY KEY (day, user_id)
);
