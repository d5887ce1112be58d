-- name: current_seq
-- $1 user id. The number of the user's last change; 0 before the first.
SELECT COALESCE((SELECT seq FROM feed WHERE user_id = $1), 0)

-- name: changes_after
-- $1 user ids, $2 the last number each has seen, $3 the most rows for each. In order.
SELECT
    l.user_id,
    l.seq,
    l.media_id,
    l.status,
    l.worker_name,
    l.logged_at,
    m.address,
    m.store_path,
    m.stored_at IS NOT NULL AS is_stored
FROM unnest($1::text[], $2::bigint[]) AS reader (user_id, seq)
CROSS JOIN LATERAL (
    SELECT user_id, seq, media_id, status, worker_name, logged_at
    FROM media_log
    WHERE user_id = reader.user_id
      AND seq > reader.seq
      AND action = 'STATUS_CHANGE'
    ORDER BY seq
    LIMIT $3
) AS l
JOIN media AS m ON m.id = l.media_id
ORDER BY l.user_id, l.seq
