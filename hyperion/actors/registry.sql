-- Nodes, actors, their heartbeats and their mail. All times are the database's.

-- name: join_node
-- $1 node, $2 pid. Returns the first boot id of a block of a million.
WITH joined AS (
    INSERT INTO node AS n (name, pid, state)
    VALUES ($1, $2, 'starting')
    ON CONFLICT (name) DO UPDATE
    SET pid = EXCLUDED.pid,
        state = EXCLUDED.state,
        started_at = now(),
        beat_at = now()
)
SELECT nextval('boot_block')

-- name: list_boots
-- $1 node. The boots that have a row.
SELECT boot
FROM actor
WHERE node = $1

-- name: forget_actors
-- $1 node
DELETE FROM actor
WHERE node = $1

-- name: leave_node
-- $1 node
WITH actors_gone AS (
    DELETE FROM actor
    WHERE node = $1
)
DELETE FROM node
WHERE name = $1

-- name: observe
-- $1 node, $2 state of the node, $3 pid. Beats for the node; returns its actors. Beats do not wait for
-- the disk: after a crash of the server everybody beats anew.
WITH beat AS (
    INSERT INTO node (name, state, pid)
    VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE
    SET beat_at = now(),
        state = EXCLUDED.state
    RETURNING set_config('synchronous_commit', 'off', TRUE)
)
SELECT name, boot, state, extract(epoch FROM clock_timestamp() - beat_at)::float8 AS silent_s
FROM actor
WHERE node = $1

-- name: register
-- $1 node, $2 name, $3 label, $4 kind, $5 boot, $6 pid, $7 restarts. No row: a later life of the
-- same actor has registered, and this one is over. Restarts that the row does not know of yet are added
-- to the total, so that asking twice adds nothing.
WITH known AS (
    SELECT COALESCE(max(restarts), 0) AS restarts
    FROM actor
    WHERE node = $1
      AND name = $2
),
counted AS (
    INSERT INTO actor_total AS t (label, restarts)
    SELECT $3, $7 - restarts
    FROM known
    WHERE $7 > restarts
    ON CONFLICT (label) DO UPDATE
    SET restarts = t.restarts + EXCLUDED.restarts,
        counted_at = now()
)
INSERT INTO actor AS a (node, name, label, kind, boot, pid, state, restarts)
VALUES ($1, $2, $3, $4, $5, $6, 'starting', $7)
ON CONFLICT (node, name) DO UPDATE
SET label = EXCLUDED.label,
    kind = EXCLUDED.kind,
    boot = EXCLUDED.boot,
    pid = EXCLUDED.pid,
    state = EXCLUDED.state,
    restarts = EXCLUDED.restarts,
    current_task_id = NULL,
    current_task_status = NULL,
    current_task_progress = NULL,
    started_at = now(),
    beat_at = now()
WHERE a.boot <= EXCLUDED.boot
RETURNING paused

-- name: beat
-- $1 node, $2 name, $3 boot, $4 state, $5 task id, $6 task status, $7 progress 0..1, $8 label,
-- $9 seconds that the event loop was late, $10 connections in use, $11 open sockets.
-- No row: this life is over. Returns whether there is mail. Does not wait for the disk, as `observe`.
UPDATE actor
SET beat_at = now(),
    state = $4,
    current_task_id = $5,
    current_task_status = $6,
    current_task_progress = $7,
    loop_lag_s = $9,
    pool_in_use = $10,
    open_sockets = $11
WHERE node = $1
  AND name = $2
  AND boot = $3
RETURNING EXISTS (
    SELECT 1
    FROM message
    WHERE recipient = $8
) AS has_mail,
set_config('synchronous_commit', 'off', TRUE)

-- name: set_paused
-- $1 node, $2 name, $3 whether. It outlives the process.
UPDATE actor
SET paused = $3
WHERE node = $1
  AND name = $2

-- name: mark_gone
-- $1 node, $2 name, $3 boot, $4 'gone' or 'drained'. The process is dead; dashboards need not wait
-- for silence to see it.
UPDATE actor
SET state = $4,
    current_task_id = NULL,
    current_task_status = NULL,
    current_task_progress = NULL
WHERE node = $1
  AND name = $2
  AND boot = $3

-- name: send
-- $1 recipient (a label), $2 verb, $3 argument
INSERT INTO message (recipient, verb, argument)
VALUES ($1, $2, $3)

-- name: read_mail
-- $1 recipients. Oldest first; a message is deleted only when it was acted upon.
SELECT id, recipient, verb, argument
FROM message
WHERE recipient = ANY ($1::text[])
ORDER BY id

-- name: delete_mail
-- $1 message ids
DELETE FROM message
WHERE id = ANY ($1::bigint[])

-- name: count_outcome
-- $1 label, $2 done, $3 failed, $4 lane, $5 seconds they took together, $6 the same as a histogram's
-- counts. Adds to the actor's total and to its row of the day, which is UTC's.
WITH total AS (
    INSERT INTO actor_total AS t (label, lane, done, failed, duration_s, buckets)
    VALUES ($1, $4, $2, $3, $5, $6)
    ON CONFLICT (label) DO UPDATE
    SET lane = EXCLUDED.lane,
        done = t.done + EXCLUDED.done,
        failed = t.failed + EXCLUDED.failed,
        duration_s = t.duration_s + EXCLUDED.duration_s,
        buckets = ARRAY(
            SELECT COALESCE(b.old, 0) + COALESCE(b.new, 0)
            FROM unnest(t.buckets, EXCLUDED.buckets) WITH ORDINALITY AS b (old, new, place)
            ORDER BY b.place
        ),
        counted_at = now()
)
INSERT INTO actor_day AS d (label, day, done, failed)
VALUES ($1, (now() AT TIME ZONE 'UTC')::date, $2, $3)
ON CONFLICT (label, day) DO UPDATE
SET done = d.done + EXCLUDED.done,
    failed = d.failed + EXCLUDED.failed

-- name: list_actors
-- Everybody's actors with their nodes, for operators.
SELECT a.label, a.kind, a.node, a.pid, a.state, a.paused, a.restarts, a.current_task_id,
    extract(epoch FROM now() - a.beat_at)::float8 AS silent_s, n.state AS node_state
FROM actor AS a
LEFT JOIN node AS n ON n.name = a.node
ORDER BY a.node, a.kind, a.label

-- name: forget_silent_nodes
-- $1 seconds. Nodes that left without a word.
WITH gone AS (
    DELETE FROM node
    WHERE beat_at < now() - make_interval(secs => $1)
    RETURNING name
)
DELETE FROM actor AS a
WHERE a.beat_at < now() - make_interval(secs => $1)
  AND NOT EXISTS (
      SELECT 1
      FROM node AS n
      WHERE n.name = a.node
        AND n.beat_at >= now() - make_interval(secs => $1)
  )

-- name: sample_machine
-- $1 node; $2 who writes, $3 number of the batch; arrays: $4 ages in seconds, $5 names of the sources,
-- $6 seconds covered, $7 CPU, $8 memory in percent. Adds each sample to its minute, hour and day of
-- UTC. A batch that was written before changes nothing.
WITH fresh AS (
    INSERT INTO batch AS b (source, number)
    VALUES ($2, $3)
    ON CONFLICT (source) DO UPDATE
    SET number = EXCLUDED.number,
        written_at = now()
    WHERE b.number < EXCLUDED.number
    RETURNING source
),
given AS MATERIALIZED (
    SELECT now() - make_interval(secs => age_s) AS sampled_at, source, covered_s, cpu, memory
    FROM unnest($4::float8[], $5::text[], $6::float8[], $7::float8[], $8::float8[])
        AS s (age_s, source, covered_s, cpu, memory)
    WHERE EXISTS (SELECT 1 FROM fresh)
),
kept AS (
    INSERT INTO machine_sample (node, sampled_at, source, covered_s, cpu_percent, memory_percent)
    SELECT $1, sampled_at, source, covered_s, cpu, memory
    FROM given
    ON CONFLICT DO NOTHING
)
INSERT INTO machine_history AS h (grain, start_at, node, covered_s, cpu_s, memory_s, pressure_s)
SELECT
    grain,
    date_trunc(grain, sampled_at, 'UTC') AS start_at,
    $1,
    sum(covered_s),
    sum(cpu * covered_s),
    sum(memory * covered_s),
    sum(greatest(cpu, memory) * covered_s)
FROM given
CROSS JOIN (VALUES ('minute'), ('hour'), ('day')) AS g (grain)
GROUP BY grain, start_at
ON CONFLICT (grain, start_at, node) DO UPDATE
SET covered_s = h.covered_s + EXCLUDED.covered_s,
    cpu_s = h.cpu_s + EXCLUDED.cpu_s,
    memory_s = h.memory_s + EXCLUDED.memory_s,
    pressure_s = h.pressure_s + EXCLUDED.pressure_s

-- name: expire_tokens
-- $1 how far clocks may be apart, in seconds. Revocations of tokens that have expired by themselves.
DELETE FROM revoked_token
WHERE expires_at < now() - make_interval(secs => $1)

-- name: free_places
-- $1 age in seconds. Places of sockets that no process holds any more.
DELETE FROM socket_place AS p
WHERE NOT EXISTS (
    SELECT 1
    FROM actor AS a
    WHERE a.boot = p.boot
      AND a.state NOT IN ('gone', 'drained')
      AND a.beat_at > now() - make_interval(secs => $1)
)

-- name: expire_failures
-- $1 age in seconds
DELETE FROM login_failure
WHERE failed_at < now() - make_interval(secs => $1)

-- name: expire_samples
-- $1 age in seconds. Samples one by one; what they add up to stays in the history.
DELETE FROM machine_sample
WHERE sampled_at < now() - make_interval(secs => $1)

-- name: expire_history
-- $1 $2 $3 ages in seconds of minutes, hours and days
DELETE FROM machine_history
WHERE (grain = 'minute' AND start_at < now() - make_interval(secs => $1))
   OR (grain = 'hour' AND start_at < now() - make_interval(secs => $2))
   OR (grain = 'day' AND start_at < now() - make_interval(secs => $3))

-- name: expire_days
-- $1 age in seconds. What actors did and who was there, day by day.
WITH actors AS (
    DELETE FROM actor_day
    WHERE day < ((now() - make_interval(secs => $1)) AT TIME ZONE 'UTC')::date
)
DELETE FROM user_day
WHERE day < ((now() - make_interval(secs => $1)) AT TIME ZONE 'UTC')::date

-- name: expire_sessions
-- $1 age in seconds of sessions that were not seen since
DELETE FROM web_session
WHERE seen_at < now() - make_interval(secs => $1)

-- name: expire_traffic
-- $1 age in seconds of what the dashboards look back on, $2 of the numbers of batches
WITH slots AS (
    DELETE FROM request_slot
    WHERE slot_at < now() - make_interval(secs => $1)
),
sights AS (
    DELETE FROM session_sight
    WHERE seen_at < now() - make_interval(secs => $1)
)
DELETE FROM batch
WHERE written_at < now() - make_interval(secs => $2)

-- name: expire_mail
-- $1 age in seconds
DELETE FROM message
WHERE sent_at < now() - make_interval(secs => $1)
