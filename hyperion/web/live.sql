-- name: current_seq
-- $1 user id. The number of the user's last change; 0 before the first.
SELECT COALESCE((SELECT seq FROM feed WHERE user_id = $1), 0)

-- name: changes_after
-- $1 user ids, $2 the last number each has seen, $3 the most rows for each. In order.
SELECT user_id, seq, media_id, status, worker_name, logged_at, address, store_path, is_stored
FROM changes_after($1, $2, $3)
