-- name: lock_own
-- $1 user id, $2 media id. Whoever writes a finding has to wait, and finds the photo corrected.
SELECT status
FROM media
WHERE id = $2
  AND user_id = $1
FOR NO KEY UPDATE

-- name: list_detections
-- $1 media id
SELECT id, label, confidence, x, y, w, h, area_sqm, is_manual
FROM detection
WHERE media_id = $1
ORDER BY id

-- name: add
-- $1 media id, $2 label, $3 $4 $5 $6 x, y, w, h as fractions. One that is there already is not added
-- again, so that a request whose answer was lost can be repeated.
INSERT INTO detection (media_id, label, confidence, x, y, w, h, is_manual)
SELECT $1, $2, 1.0, $3, $4, $5, $6, true
WHERE NOT EXISTS (
    SELECT 1
    FROM detection
    WHERE media_id = $1
      AND is_manual
      AND (label, x, y, w, h) = ($2, $3::float8, $4::float8, $5::float8, $6::float8)
)
RETURNING id

-- name: change
-- $1 media id, $2 detection id, $3 label or null, $4 $5 $6 $7 box or nulls: as it is
UPDATE detection
SET label = COALESCE($3, label),
    x = COALESCE($4, x),
    y = COALESCE($5, y),
    w = COALESCE($6, w),
    h = COALESCE($7, h),
    confidence = 1.0,
    area_sqm = NULL,
    is_manual = true
WHERE id = $2
  AND media_id = $1
RETURNING id

-- name: remove
-- $1 media id, $2 detection ids
DELETE FROM detection
WHERE media_id = $1
  AND id = ANY ($2::bigint[])
RETURNING id

-- name: sum_up
-- $1 media id, $2 the labels that count as litter. The photo is as clean as its detections say. By a new
-- corrected_at the database knows a correction from an analysis, so it never says the same twice.
UPDATE media AS m
SET has_trash = d.most IS NOT NULL,
    confidence = round((d.most * 100)::numeric, 2)::float8,
    corrected_at = clock_timestamp(),
    updated_at = now()
FROM (SELECT max(confidence) AS most FROM detection WHERE media_id = $1 AND label = ANY ($2::text[])) AS d
WHERE m.id = $1
RETURNING m.has_trash, m.confidence
