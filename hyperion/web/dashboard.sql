-- name: workers
-- The workers of all nodes, with what they did since midnight UTC.
SELECT
    a.label,
    a.node,
    a.state,
    a.paused,
    a.current_task_id,
    a.current_task_status,
    a.current_task_progress,
    a.restarts,
    a.beat_at,
    extract(epoch FROM now() - a.beat_at)::float8 AS silent_s,
    COALESCE(d.done, 0) AS done_today,
    now() AS read_at
FROM actor AS a
LEFT JOIN actor_day AS d ON d.label = a.label AND d.day = (now() AT TIME ZONE 'UTC')::date
WHERE a.kind = 'worker'
ORDER BY a.node, a.name

-- name: owns
-- $1 user id, $2 media id
SELECT EXISTS (SELECT 1 FROM media WHERE id = $2 AND user_id = $1)

-- name: pressures
-- $1 age in seconds from which on a sample is too old. The newest of each node, the busiest node first.
SELECT node, source, cpu_percent, memory_percent
FROM (
    SELECT DISTINCT ON (node) node, source, cpu_percent, memory_percent
    FROM machine_sample
    WHERE sampled_at > now() - make_interval(secs => $1)
    ORDER BY node, sampled_at DESC
) AS newest
ORDER BY greatest(cpu_percent, memory_percent) DESC, node

-- name: load_and_uptime
-- $1 how many days. The mean pressure of each of the last days of UTC, today last, 0 where nothing was
-- sampled; and the share in percent of the last 24 hours in which somebody sampled.
WITH days AS (
    SELECT date_trunc('day', now(), 'UTC') - make_interval(hours => 24 * ago) AS day
    FROM generate_series(0, $1 - 1) AS d (ago)
),
loads AS (
    SELECT d.day, COALESCE(sum(h.pressure_s) / NULLIF(sum(h.covered_s), 0), 0) AS load
    FROM days AS d
    LEFT JOIN machine_history AS h ON h.grain = 'day' AND h.start_at = d.day
    GROUP BY d.day
),
minutes AS (
    SELECT max(covered_s) AS covered_s
    FROM machine_history
    WHERE grain = 'minute'
      AND start_at >= date_trunc('minute', now() - INTERVAL '24 h')
    GROUP BY start_at
)
SELECT
    (SELECT array_agg(round(load::numeric, 2)::float8 ORDER BY day) FROM loads) AS server_load,
    (
        SELECT LEAST(100, round(COALESCE(
            100 * sum(covered_s) / extract(epoch FROM now() - date_trunc('minute', now() - INTERVAL '24 h')), 0
        )::numeric, 1))::float8
        FROM minutes
    ) AS uptime,
    now() AS read_at

-- name: sessions_there
-- $1 the session that asks. It is there, whether its row is written yet or not. Sessions of the last 5
-- minutes, and those of each of the last 7 minutes, the newest last.
WITH sights AS (
    SELECT session_id AS id, seen_at
    FROM session_sight
    WHERE seen_at > now() - INTERVAL '7 min'
    UNION ALL
    SELECT $1::text, now()
)
SELECT
    (
        SELECT count(*)
        FROM (
            SELECT id
            FROM web_session
            WHERE seen_at > now() - INTERVAL '5 min'
              AND ended_at IS NULL
            UNION
            SELECT $1::text
        ) AS there
    ) AS active_now,
    (
        SELECT array_agg(sessions ORDER BY ago DESC)
        FROM (
            SELECT m.ago, count(DISTINCT s.id) AS sessions
            FROM generate_series(0, 6) AS m (ago)
            LEFT JOIN sights AS s
                ON s.seen_at <= now() - make_interval(mins => m.ago)
                AND s.seen_at > now() - make_interval(mins => m.ago + 1)
            GROUP BY m.ago
        ) AS minutes
    ) AS active_trend

-- name: users_by_day
-- $1 the user who asks, $2 how many days. Distinct users of each of the last days of UTC, today last.
WITH seen AS (
    SELECT day, user_id
    FROM user_day
    WHERE day > (now() AT TIME ZONE 'UTC')::date - $2::int
    UNION
    SELECT (now() AT TIME ZONE 'UTC')::date, $1::text
)
SELECT count(s.user_id) AS users
FROM generate_series(0, $2::int - 1) AS d (ago)
LEFT JOIN seen AS s ON s.day = (now() AT TIME ZONE 'UTC')::date - d.ago
GROUP BY d.ago
ORDER BY d.ago DESC

-- name: response_time
-- $1 seconds to look back. The mean of all requests in milliseconds, 0 without any.
SELECT
    COALESCE(1000 * sum(duration_s) / sum(requests), 0)::float8 AS mean_ms,
    now() AS read_at
FROM request_slot
WHERE slot_at > now() - make_interval(secs => $1)
