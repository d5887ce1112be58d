-- name: begin_batch
-- $1 who writes, $2 number of the batch. No row: it was written before, and its answer was lost.
INSERT INTO batch AS b (source, number)
VALUES ($1, $2)
ON CONFLICT (source) DO UPDATE
SET number = EXCLUDED.number,
    written_at = now()
WHERE b.number < EXCLUDED.number
RETURNING number

-- name: add_requests
-- $1 route, $2 method, $3 status, $4 requests, $5 seconds, $6 counts of a histogram
INSERT INTO request_total AS t (route, method, status, requests, duration_s, buckets)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (route, method, status) DO UPDATE
SET requests = t.requests + EXCLUDED.requests,
    duration_s = t.duration_s + EXCLUDED.duration_s,
    buckets = ARRAY(
        SELECT COALESCE(b.old, 0) + COALESCE(b.new, 0)
        FROM unnest(t.buckets, EXCLUDED.buckets) WITH ORDINALITY AS b (old, new, place)
        ORDER BY b.place
    )

-- name: add_slot
-- $1 age in seconds, $2 requests, $3 seconds
INSERT INTO request_slot AS s (slot_at, requests, duration_s)
VALUES (date_bin('10 s', now() - make_interval(secs => $1), 'epoch'), $2, $3)
ON CONFLICT (slot_at) DO UPDATE
SET requests = s.requests + EXCLUDED.requests,
    duration_s = s.duration_s + EXCLUDED.duration_s

-- name: add_files
-- $1 what became of them, $2 how many
INSERT INTO upload_total AS t (result, files)
VALUES ($1, $2)
ON CONFLICT (result) DO UPDATE
SET files = t.files + EXCLUDED.files

-- name: see_sessions
-- $1 sessions, $2 their users, $3 $4 seconds since they were seen, for the first and the last time since
-- this process wrote before. The days are UTC's. A row that another process touched within 30 s stays.
WITH given AS MATERIALIZED (
    SELECT
        id,
        user_id,
        now() - make_interval(secs => first_age_s) AS first_at,
        now() - make_interval(secs => last_age_s) AS last_at
    FROM unnest($1::text[], $2::text[], $3::float8[], $4::float8[]) AS s (id, user_id, first_age_s, last_age_s)
),
sights AS (
    INSERT INTO session_sight (seen_at, session_id)
    SELECT last_at, id
    FROM given
    ON CONFLICT DO NOTHING
),
days AS (
    INSERT INTO user_day (day, user_id)
    SELECT (first_at AT TIME ZONE 'UTC')::date AS day, user_id
    FROM given
    UNION
    SELECT (last_at AT TIME ZONE 'UTC')::date, user_id
    FROM given
    ORDER BY day, user_id
    ON CONFLICT DO NOTHING
)
INSERT INTO web_session AS s (id, user_id, started_at, seen_at)
SELECT id, user_id, first_at, last_at
FROM given
ORDER BY id
ON CONFLICT (id) DO UPDATE
SET seen_at = EXCLUDED.seen_at,
    ended_at = NULL
WHERE s.ended_at < EXCLUDED.seen_at
   OR s.seen_at < EXCLUDED.seen_at - INTERVAL '30 s' AND s.ended_at IS NULL

-- name: end_sessions
-- $1 sessions, $2 seconds since they ended
UPDATE web_session AS s
SET ended_at = now() - make_interval(secs => e.age_s)
FROM unnest($1::text[], $2::float8[]) AS e (id, age_s)
WHERE s.id = e.id
