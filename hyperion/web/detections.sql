-- name: verdict
-- $1 user id, $2 media id
SELECT has_trash, confidence, corrected_at IS NOT NULL AS is_corrected
FROM media
WHERE id = $2
  AND user_id = $1
