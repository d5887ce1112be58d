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
-- $1 node, $2 state of the node, $3 pid. Beats for the node; returns its actors.
WITH beat AS (
    INSERT INTO node (name, state, pid)
    VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE
    SET beat_at = now(),
        state = EXCLUDED.state
)
SELECT name, boot, state, extract(epoch FROM clock_timestamp() - beat_at)::float8 AS silent_s
FROM actor
WHERE node = $1

-- name: register
-- $1 node, $2 name, $3 label, $4 kind, $5 boot, $6 pid, $7 restarts. No row: a later life of the
-- same actor has registered, and this one is over.
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
-- $1 node, $2 name, $3 boot, $4 state, $5 task id, $6 task status, $7 progress 0..1, $8 label.
-- No row: this life is over. Returns whether there is mail.
UPDATE actor
SET beat_at = now(),
    state = $4,
    current_task_id = $5,
    current_task_status = $6,
    current_task_progress = $7
WHERE node = $1
  AND name = $2
  AND boot = $3
RETURNING EXISTS (
    SELECT 1
    FROM message
    WHERE recipient = $8
) AS has_mail

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
-- $1 label, $2 done, $3 failed. The day is UTC's.
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
-- $1 node, $2 CPU in percent, $3 memory in percent
INSERT INTO machine_sample (node, cpu_percent, memory_percent)
VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING

-- name: expire_tokens
-- Revocations of tokens that have expired by themselves.
DELETE FROM revoked_token
WHERE expires_at < now()

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
-- $1 age in seconds
DELETE FROM machine_sample
WHERE sampled_at < now() - make_interval(secs => $1)

-- name: expire_mail
-- $1 age in seconds
DELETE FROM message
WHERE sent_at < now() - make_interval(secs => $1)
