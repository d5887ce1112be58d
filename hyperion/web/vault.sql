-- The pages give ids alone: one short query for each order, so that the planner sees a plain one and
-- the newest first, which is what is asked for most, comes from the index without a sort.

-- name: page_newest
-- $1 user id, $2 limit, $3 offset. All photos, so that the index alone tells.
SELECT id
FROM media
WHERE user_id = $1
ORDER BY created_at DESC, id DESC
LIMIT $2
OFFSET $3

-- name: page_oldest
-- $1 user id, $2 limit, $3 offset. All photos, so that the index alone tells.
SELECT id
FROM media
WHERE user_id = $1
ORDER BY created_at ASC, id ASC
LIMIT $2
OFFSET $3

-- name: count_all
-- $1 user id. No row before the first photo.
SELECT photos
FROM feed
WHERE user_id = $1

-- name: page_created_desc
-- $1 user id, $2 text in the file name or null, $3 status or null, $4 limit, $5 offset
SELECT id
FROM media
WHERE user_id = $1
  AND ($2::text IS NULL OR strpos(lower(filename), lower($2)) > 0)
  AND ($3::text IS NULL OR status = $3)
ORDER BY created_at DESC, id DESC
LIMIT $4
OFFSET $5

-- name: page_created_asc
-- $1 user id, $2 text in the file name or null, $3 status or null, $4 limit, $5 offset
SELECT id
FROM media
WHERE user_id = $1
  AND ($2::text IS NULL OR strpos(lower(filename), lower($2)) > 0)
  AND ($3::text IS NULL OR status = $3)
ORDER BY created_at ASC, id ASC
LIMIT $4
OFFSET $5

-- name: page_filename_desc
-- $1 user id, $2 text in the file name or null, $3 status or null, $4 limit, $5 offset
SELECT id
FROM media
WHERE user_id = $1
  AND ($2::text IS NULL OR strpos(lower(filename), lower($2)) > 0)
  AND ($3::text IS NULL OR status = $3)
ORDER BY filename DESC, id DESC
LIMIT $4
OFFSET $5

-- name: page_filename_asc
-- $1 user id, $2 text in the file name or null, $3 status or null, $4 limit, $5 offset
SELECT id
FROM media
WHERE user_id = $1
  AND ($2::text IS NULL OR strpos(lower(filename), lower($2)) > 0)
  AND ($3::text IS NULL OR status = $3)
ORDER BY filename ASC, id ASC
LIMIT $4
OFFSET $5

-- name: page_status_desc
-- $1 user id, $2 text in the file name or null, $3 status or null, $4 limit, $5 offset
SELECT id
FROM media
WHERE user_id = $1
  AND ($2::text IS NULL OR strpos(lower(filename), lower($2)) > 0)
  AND ($3::text IS NULL OR status = $3)
ORDER BY status DESC, id DESC
LIMIT $4
OFFSET $5

-- name: page_status_asc
-- $1 user id, $2 text in the file name or null, $3 status or null, $4 limit, $5 offset
SELECT id
FROM media
WHERE user_id = $1
  AND ($2::text IS NULL OR strpos(lower(filename), lower($2)) > 0)
  AND ($3::text IS NULL OR status = $3)
ORDER BY status ASC, id ASC
LIMIT $4
OFFSET $5

-- name: count
-- $1 user id, $2 text in the file name or null, $3 status or null
SELECT count(*)
FROM media
WHERE user_id = $1
  AND ($2::text IS NULL OR strpos(lower(filename), lower($2)) > 0)
  AND ($3::text IS NULL OR status = $3)

-- name: media_items
-- $1 media ids. The photos in the order of the ids.
SELECT
    m.id,
    m.filename,
    m.size_bytes,
    m.width,
    m.height,
    m.status,
    m.store_path,
    m.stored_at IS NOT NULL AS is_stored,
    EXISTS (SELECT 1 FROM media_thumbnail AS t WHERE t.media_id = m.id) AS has_thumbnail,
    m.assigned_worker,
    m.lat,
    m.lng,
    m.altitude,
    m.address,
    m.technical_metadata,
    m.has_trash,
    m.confidence,
    m.failed_reason,
    m.created_at,
    m.updated_at
FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (id, place)
JOIN media AS m ON m.id = wanted.id
ORDER BY wanted.place

-- name: exists
-- $1 media id
SELECT EXISTS (SELECT 1 FROM media WHERE id = $1)
