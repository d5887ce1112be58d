-- Parameters and results stand in each query's header. Deadlines and times are the database's.
--
-- A plan that was made while a table was empty may read all of it for every task: to the planner
-- that costs the same. So what claim and finish touch is written such that an index is the only way:
-- arrays instead of a join with unnest, and OFFSET 0. Leases are named by their task ids in ascending
-- order and an array of their epochs beside it: width_bucket finds a task's place by halving. To look
-- for an epoch in the whole array cost a microsecond a task where there are hundreds.

-- name: enqueue
-- $1 lanes, $2 kinds, $3 payloads (JSON text), $4 items (uuid or null): arrays of one length.
-- Returns the ids in the order given.
WITH given AS MATERIALIZED (
    SELECT nextval('task_id_seq') AS id, lane, kind, payload, item, place
    FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) WITH ORDINALITY
        AS new (lane, kind, payload, item, place)
    ORDER BY place
),
written AS (
    INSERT INTO task (id, lane, kind, payload, item)
    OVERRIDING SYSTEM VALUE
    SELECT id, lane, kind, payload::jsonb, item
    FROM given
),
queued AS (
    INSERT INTO task_ready (lane, seq, task_id)
    SELECT lane, nextval('task_seq'), id
    FROM given
    ORDER BY place
)
SELECT id
FROM given
ORDER BY place

-- name: claim
-- $1 lane, $2 low-water mark (a seq), $3 limit, $4 boot id, $5 lease in seconds.
-- Takes the oldest that nobody else is taking and leases them to the boot, all in one epoch; returns
-- them in any order. A row that is locked stays where it is, so it can be deleted by its place.
WITH picked AS MATERIALIZED (
    SELECT ctid AS place, seq, task_id, attempt, crashes
    FROM task_ready
    WHERE lane = $1
      AND seq >= $2
    ORDER BY seq
    LIMIT $3
    FOR UPDATE SKIP LOCKED
),
claim AS MATERIALIZED (
    SELECT nextval('task_epoch') AS epoch, now() + make_interval(secs => $5) AS deadline_at
),
taken AS (
    DELETE FROM task_ready
    WHERE ctid = ANY (ARRAY (SELECT place FROM picked))
),
leased AS (
    INSERT INTO task_lease (task_id, lane, seq, boot, epoch, attempt, crashes, deadline_at)
    SELECT
        task_id, $1, seq, $4, (SELECT epoch FROM claim), attempt + 1, crashes, (SELECT deadline_at FROM claim)
    FROM picked
)
SELECT
    p.task_id, p.seq, (SELECT epoch FROM claim) AS epoch, p.attempt + 1 AS attempt, p.crashes, t.kind, t.payload, t.item
FROM picked AS p
CROSS JOIN LATERAL (
    SELECT kind, payload, item
    FROM task
    WHERE id = p.task_id
    OFFSET 0
) AS t

-- name: wait_for_work
-- $1 boot, $2 lane. From now on a ring may wake it.
INSERT INTO task_claimer (boot, lane, is_idle)
VALUES ($1, $2, true)
ON CONFLICT (boot) DO UPDATE
SET is_idle = true

-- name: wait_no_more
-- $1 boot. No row: it has been woken in the meantime.
UPDATE task_claimer
SET is_idle = false
WHERE boot = $1
  AND is_idle
RETURNING boot

-- name: forget_claimers
-- $1 boots that have ended
DELETE FROM task_claimer
WHERE boot = ANY ($1::bigint[])

-- name: forget_lost_claimers
-- Those whose boot is no actor's any more.
DELETE FROM task_claimer AS c
WHERE NOT EXISTS (
    SELECT 1
    FROM actor AS a
    WHERE a.boot = c.boot
)

-- name: finish
-- $1 task ids, $2 epochs, $3 boot id. Returns the ids that were still ours.
DELETE FROM task_lease
WHERE task_id = ANY ($1::bigint[])
  AND epoch = ($2::bigint[])[width_bucket(task_id, $1::bigint[])]
  AND boot = $3
RETURNING task_id

-- name: hold
-- $1 task id, $2 epoch, $3 boot id. Returns a row while the lease is ours, and keeps it so until
-- the transaction ends: a rescue waits or passes by.
SELECT task_id
FROM task_lease
WHERE task_id = $1
  AND epoch = $2
  AND boot = $3
FOR UPDATE

-- name: renew
-- $1 task ids, $2 epochs, $3 boot id, $4 lease in seconds.
UPDATE task_lease
SET deadline_at = now() + make_interval(secs => $4)
WHERE task_id = ANY ($1::bigint[])
  AND epoch = ($2::bigint[])[width_bucket(task_id, $1::bigint[])]
  AND boot = $3

-- name: hand_back_strays
-- $1 boot id, $2 task ids that it knows of. Puts back what a claim took whose answer was lost.
WITH released AS (
    DELETE FROM task_lease
    WHERE boot = $1
      AND task_id <> ALL ($2::bigint[])
    RETURNING lane, seq, task_id, attempt, crashes
)
INSERT INTO task_ready (lane, seq, task_id, attempt, crashes)
SELECT lane, seq, task_id, attempt - 1, crashes
FROM released
RETURNING task_id

-- name: schedule
-- $1 task id, $2 lane, $3 delay in seconds, $4 attempt, $5 crashes, $6 error.
INSERT INTO task_scheduled (task_id, lane, run_at, attempt, crashes, error)
VALUES ($1, $2, now() + make_interval(secs => $3), $4, $5, $6)

-- name: bury
-- $1 task id, $2 lane, $3 attempt, $4 crashes, $5 error.
INSERT INTO task_dead (task_id, lane, attempt, crashes, error)
VALUES ($1, $2, $3, $4, $5)

-- name: hand_back
-- $1 task ids, $2 epochs, $3 boot id. Puts leases that are still ours back at their old place, as
-- if they had never been claimed. Returns the task ids.
WITH released AS (
    DELETE FROM task_lease
    WHERE task_id = ANY ($1::bigint[])
      AND epoch = ($2::bigint[])[width_bucket(task_id, $1::bigint[])]
      AND boot = $3
    RETURNING lane, seq, task_id, attempt, crashes
)
INSERT INTO task_ready (lane, seq, task_id, attempt, crashes)
SELECT lane, seq, task_id, attempt - 1, crashes
FROM released
RETURNING task_id

-- name: lock_leases_of
-- $1 boot ids. Locks their leases; those that are being settled right now are left alone.
SELECT task_id
FROM task_lease
WHERE boot = ANY ($1::bigint[])
ORDER BY task_id
FOR UPDATE SKIP LOCKED

-- name: lock_lost_leases
-- $1 seconds of silence. Locks the leases that nobody answers for: past their deadline, of a boot
-- that is no actor's any more, or of an actor that was silent for so long.
SELECT task_id
FROM task_lease AS l
WHERE deadline_at < now()
   OR NOT EXISTS (
       SELECT 1
       FROM actor AS a
       WHERE a.boot = l.boot
         AND a.beat_at > now() - make_interval(secs => $1)
   )
ORDER BY task_id
FOR UPDATE SKIP LOCKED

-- name: rescue
-- $1 task ids whose leases this transaction has locked, $2 crashes a task may cause, $3 reason,
-- $4 how many crashes this counts as: 1, or 0 where the owner ended in order, $5 lanes whose tasks
-- are not to blame either. Back to the old place in the line, or dead.
WITH freed AS (
    DELETE FROM task_lease
    WHERE task_id = ANY ($1::bigint[])
    RETURNING
        task_id,
        lane,
        seq,
        boot,
        attempt - 1 AS attempt,
        crashes + CASE WHEN lane = ANY ($5::text[]) THEN 0 ELSE $4 END AS crashes
),
again AS (
    INSERT INTO task_ready (lane, seq, task_id, attempt, crashes)
    SELECT lane, seq, task_id, attempt, crashes
    FROM freed
    WHERE crashes < $2
),
dead AS (
    INSERT INTO task_dead (task_id, lane, attempt, crashes, error)
    SELECT task_id, lane, attempt, crashes, $3
    FROM freed
    WHERE crashes >= $2
)
SELECT f.task_id, f.lane, f.boot, f.crashes, f.crashes >= $2 AS is_dead, t.kind, t.item
FROM freed AS f
JOIN task AS t ON t.id = f.task_id
ORDER BY f.task_id

-- name: promote_due
-- $1 limit. Moves what has waited long enough to the end of its lane; returns (lane, how many).
WITH due AS MATERIALIZED (
    SELECT task_id
    FROM task_scheduled
    WHERE run_at <= now()
    ORDER BY run_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
),
moved AS (
    DELETE FROM task_scheduled
    WHERE task_id = ANY (ARRAY (SELECT task_id FROM due))
    RETURNING task_id, lane, attempt, crashes
),
queued AS (
    INSERT INTO task_ready (lane, seq, task_id, attempt, crashes)
    SELECT lane, nextval('task_seq'), task_id, attempt, crashes
    FROM moved
)
SELECT lane, count(*) AS tasks
FROM moved
GROUP BY lane

-- name: revive
-- $1 task ids. Brings dead tasks back with fresh attempts; returns (task id, lane, kind, item).
WITH risen AS (
    DELETE FROM task_dead
    WHERE task_id = ANY ($1::bigint[])
    RETURNING task_id, lane
),
queued AS (
    INSERT INTO task_ready (lane, seq, task_id)
    SELECT lane, nextval('task_seq'), task_id
    FROM risen
    ORDER BY task_id
)
SELECT r.task_id, r.lane, t.kind, t.item
FROM risen AS r
JOIN task AS t ON t.id = r.task_id
ORDER BY r.task_id

-- name: list_dead
-- $1 lane or null, $2 limit. The newest first.
SELECT d.task_id, d.lane, d.attempt, d.crashes, d.error, d.died_at, t.kind, t.item
FROM task_dead AS d
JOIN task AS t ON t.id = d.task_id
WHERE $1::text IS NULL
   OR d.lane = $1
ORDER BY d.died_at DESC
LIMIT $2

-- name: purge_finished
-- $1 task id to go on after, $2 age in seconds, $3 how many to look at. Deletes those that are
-- finished; returns the last id looked at (null at the end) and how many went.
WITH looked_at AS MATERIALIZED (
    SELECT id
    FROM task
    WHERE id > $1
      AND created_at < now() - make_interval(secs => $2)
    ORDER BY id
    LIMIT $3
),
gone AS (
    DELETE FROM task AS t
    USING looked_at AS l
    WHERE t.id = l.id
      AND NOT EXISTS (SELECT 1 FROM task_lease AS x WHERE x.task_id = l.id)
      AND NOT EXISTS (SELECT 1 FROM task_scheduled AS x WHERE x.task_id = l.id)
      AND NOT EXISTS (SELECT 1 FROM task_dead AS x WHERE x.task_id = l.id)
      AND NOT EXISTS (SELECT 1 FROM task_ready AS x WHERE x.task_id = l.id)
    RETURNING t.id
)
SELECT (SELECT max(id) FROM looked_at) AS last_id, (SELECT count(*) FROM gone) AS purged

-- name: is_alive
-- $1 item, $2 lane. Whether a task about the item waits or runs in the lane.
SELECT EXISTS (
    SELECT 1
    FROM task AS t
    WHERE t.item = $1
      AND t.lane = $2
      AND (
          EXISTS (SELECT 1 FROM task_lease AS x WHERE x.task_id = t.id)
          OR EXISTS (SELECT 1 FROM task_scheduled AS x WHERE x.task_id = t.id)
          OR EXISTS (SELECT 1 FROM task_ready AS x WHERE x.lane = $2 AND x.task_id = t.id)
      )
)

-- name: count_ready
-- $1 lane, $2 the most that is counted.
SELECT count(*)
FROM (
    SELECT 1
    FROM task_ready
    WHERE lane = $1
    LIMIT $2
) AS waiting

-- name: depths
-- How many tasks each lane has in each state.
SELECT lane, 'ready' AS state, count(*) FROM task_ready GROUP BY lane
UNION ALL
SELECT lane, 'scheduled', count(*) FROM task_scheduled GROUP BY lane
UNION ALL
SELECT lane, 'leased', count(*) FROM task_lease GROUP BY lane
UNION ALL
SELECT lane, 'dead', count(*) FROM task_dead GROUP BY lane

-- name: oldest
-- $1 lanes. How long ago the first in each line was enqueued, in seconds; 0 for an empty lane.
SELECT l.lane, COALESCE(extract(epoch FROM now() - t.created_at), 0)::float8 AS age_s
FROM unnest($1::text[]) AS l (lane)
LEFT JOIN LATERAL (
    SELECT task_id
    FROM task_ready
    WHERE lane = l.lane
    ORDER BY seq
    LIMIT 1
) AS first ON true
LEFT JOIN task AS t ON t.id = first.task_id
