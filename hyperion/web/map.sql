-- name: photos
-- $1 user id, $2 $3 least and greatest latitude, $4 $5 longitude, $6 has trash, $7 least confidence;
-- each may be null. $8 limit. The newest first, with the number of all.
SELECT
    id,
    filename,
    status,
    assigned_worker,
    lat,
    lng,
    altitude,
    address,
    store_path,
    stored_at IS NOT NULL AS is_stored,
    EXISTS (SELECT 1 FROM media_thumbnail AS t WHERE t.media_id = media.id) AS has_thumbnail,
    has_trash,
    confidence,
    count(*) OVER () AS total
FROM media
WHERE user_id = $1
  AND lat IS NOT NULL
  AND ($2::float8 IS NULL OR (lat BETWEEN $2 AND $3 AND lng BETWEEN $4::float8 AND $5::float8))
  AND ($6::boolean IS NULL OR has_trash = $6)
  AND ($7::float8 IS NULL OR confidence >= $7)
ORDER BY created_at DESC, id DESC
LIMIT $8

-- name: detections
-- $1 media ids
SELECT media_id, id, label, confidence, x, y, w, h, area_sqm, is_manual
FROM detection
WHERE media_id = ANY ($1::uuid[])
ORDER BY media_id, id

-- name: cells
-- $1 user id, $2 $3 latitudes, $4 $5 longitudes, $6 size of a cell in degrees. In numeric, because
-- 0.3 / 0.1 is 2.9999999999999996 in floating point and would put the photo into the wrong cell.
WITH placed AS MATERIALIZED (
    SELECT
        id,
        confidence,
        floor(lat::numeric / $6::float8::numeric) * $6::float8::numeric AS cell_lat,
        floor(lng::numeric / $6::float8::numeric) * $6::float8::numeric AS cell_lng
    FROM media
    WHERE user_id = $1
      AND lat BETWEEN $2 AND $3
      AND lng BETWEEN $4 AND $5
      AND has_trash
),
counted AS (
    SELECT cell_lat, cell_lng, count(*) AS count, avg(confidence) AS confidence
    FROM placed
    GROUP BY cell_lat, cell_lng
),
named AS (
    SELECT DISTINCT ON (p.cell_lat, p.cell_lng) p.cell_lat, p.cell_lng, d.label
    FROM placed AS p
    JOIN detection AS d ON d.media_id = p.id
    GROUP BY p.cell_lat, p.cell_lng, d.label
    ORDER BY p.cell_lat, p.cell_lng, count(*) DESC, d.label
)
SELECT
    c.cell_lat::float8 AS lat,
    c.cell_lng::float8 AS lng,
    round(c.count / ($6::float8::numeric * $6::float8::numeric), 2)::float8 AS density,
    c.count,
    round(c.confidence::numeric, 2)::float8 AS confidence,
    n.label
FROM counted AS c
LEFT JOIN named AS n ON n.cell_lat = c.cell_lat AND n.cell_lng = c.cell_lng
ORDER BY c.cell_lat, c.cell_lng

-- name: history
-- $1 user id, $2 media id. Oldest first; one row of nulls for a photo without history, none for one
-- that is not the user's.
SELECT l.action, l.message, l.worker_name, l.logged_at
FROM media AS m
LEFT JOIN media_log AS l ON l.media_id = m.id
WHERE m.id = $2
  AND m.user_id = $1
ORDER BY l.seq
