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
