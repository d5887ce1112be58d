-- How much each user keeps, counted in the user's row of `feed`.

-- name: count_kept
-- $1 user id, $2 size in bytes, $3 most photos, $4 most bytes. Counts one more photo; no row: it would
-- be too much. Either way the user's row stays locked until the commit.
INSERT INTO feed AS f (user_id, kept_files, kept_bytes)
SELECT $1, 1, $2::bigint
WHERE $2 <= $4::bigint
ON CONFLICT (user_id) DO UPDATE
SET kept_files = f.kept_files + 1,
    kept_bytes = f.kept_bytes + $2
WHERE f.kept_files < $3
  AND f.kept_bytes + $2 <= $4
RETURNING f.user_id

-- name: uncount_kept
-- $1 user id, $2 photos, $3 bytes. Never below nothing: a node of the version before did not count.
UPDATE feed
SET kept_files = greatest(0, kept_files - $2),
    kept_bytes = greatest(0, kept_bytes - $3::bigint)
WHERE user_id = $1

-- name: kept
-- $1 user id
SELECT kept_files, kept_bytes
FROM feed
WHERE user_id = $1
