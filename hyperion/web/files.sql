-- name: image
-- $1 media id, $2 user id
SELECT
    id,
    filename,
    content_type,
    store_path,
    stored_at IS NOT NULL AS is_stored,
    EXISTS (SELECT 1 FROM media_blob AS b WHERE b.media_id = media.id) AS has_blob
FROM media
WHERE id = $1
  AND user_id = $2

-- name: thumbnail
-- $1 media id, $2 user id
SELECT t.content
FROM media_thumbnail AS t
JOIN media AS m ON m.id = t.media_id
WHERE t.media_id = $1
  AND m.user_id = $2
