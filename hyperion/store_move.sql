-- name: stored_photos
-- $1 media id to go on after, or null, $2 how many
SELECT id, store_path
FROM media
WHERE stored_at IS NOT NULL
  AND ($1::uuid IS NULL OR id > $1)
ORDER BY id
LIMIT $2
