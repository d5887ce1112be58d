-- name: insert_media
-- $1 id, $2 user id, $3 file name, $4 content type, $5 size in bytes, $6 width, $7 height, $8 path in the store
INSERT INTO media (id, user_id, filename, content_type, size_bytes, width, height, status, store_path)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'PENDING', $8)

-- name: insert_part
-- $1 media id, $2 number of the part, $3 bytes
INSERT INTO media_blob (media_id, part, content)
VALUES ($1, $2, $3)

-- name: read_part
-- $1 media id, $2 number of the part
SELECT content
FROM media_blob
WHERE media_id = $1
  AND part = $2

-- name: find
-- $1 media id
SELECT id, user_id, status, width, height, store_path, stored_at IS NOT NULL AS is_stored
FROM media
WHERE id = $1

-- name: find_paths
-- $1 media ids
SELECT id, store_path, size_bytes
FROM media
WHERE id = ANY ($1::uuid[])

-- name: lock
-- $1 media id
SELECT status
FROM media
WHERE id = $1
FOR NO KEY UPDATE

-- name: change_status
-- $1 media ids, $2 new status, $3 statuses it may have now, $4 worker (null: as it is), $5 why it
-- failed (FAILED only), $6 what the history says. Returns the photos that changed.
WITH changed AS (
    UPDATE media
    SET status = $2,
        assigned_worker = COALESCE($4, assigned_worker),
        failed_reason = $5,
        updated_at = now()
    WHERE id = ANY ($1::uuid[])
      AND status = ANY ($3::text[])
    RETURNING id, user_id, status, width, height, store_path, stored_at IS NOT NULL AS is_stored
)
SELECT
    id,
    user_id,
    status,
    width,
    height,
    store_path,
    is_stored,
    (
        SELECT write_history(array_agg(id), array_agg(user_id), $2, 'STATUS_CHANGE', $6, $4)
        FROM changed
    ) AS logged
FROM changed

-- name: write_history
-- $1 media id, $2 its owner, $3 status, $4 action, $5 what the history says.
SELECT write_history(ARRAY[$1::uuid], ARRAY[$2::text], $3, $4, $5, NULL)

-- name: mark_stored
-- $1 media ids. Also for those that were given up as FAILED meanwhile: the file is there.
UPDATE media
SET stored_at = now()
WHERE id = ANY ($1::uuid[])
  AND stored_at IS NULL

-- name: list_existing
-- $1 media ids. Locks those that still exist, in one order for everybody.
SELECT id, user_id
FROM media
WHERE id = ANY ($1::uuid[])
ORDER BY id
FOR UPDATE

-- name: lock_feeds
-- $1 user ids. Locks what numbers their changes, in one order for everybody.
SELECT user_id
FROM feed
WHERE user_id = ANY ($1::text[])
ORDER BY user_id
FOR NO KEY UPDATE

-- name: drop_blob
-- $1 media id. The bytes stay while the store does not have them. The photo is locked first, as by who
-- deletes it: each would wait for the other's rows.
WITH stored AS MATERIALIZED (
    SELECT id
    FROM media
    WHERE id = $1
      AND stored_at IS NOT NULL
    FOR NO KEY UPDATE
)
DELETE FROM media_blob
USING stored
WHERE media_id = stored.id

-- name: delete_media
-- $1 user id, $2 media ids (null: all of the user's). Returns what has to go from the store. They are
-- locked first, in the order that everybody keeps.
WITH theirs AS MATERIALIZED (
    SELECT id
    FROM media
    WHERE user_id = $1
      AND ($2::uuid[] IS NULL OR id = ANY ($2))
    ORDER BY id
    FOR UPDATE
)
DELETE FROM media
WHERE id = ANY (ARRAY (SELECT id FROM theirs))
RETURNING id, store_path

-- name: list_stuck
-- $1 status, $2 age in seconds, $3 limit
SELECT id
FROM media
WHERE status = $1
  AND updated_at < now() - make_interval(secs => $2)
ORDER BY updated_at
LIMIT $3
