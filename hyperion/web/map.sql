-- name: photos
-- $1 user id, $2 has trash, $3 least confidence; both may be null. $4 limit. The newest first, with the
-- number of all.
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
  AND ($2::boolean IS NULL OR has_trash = $2)
  AND ($3::float8 IS NULL OR confidence >= $3)
ORDER BY created_at DESC, id DESC
LIMIT $4

-- name: photos_in_box
-- $1 user id, $2 has trash, $3 least confidence; both may be null. $4 limit, $5 $6 least and greatest
-- latitude, $7 $8 longitude. The newest first, with the number of all.
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
  AND lat BETWEEN $5 AND $6
  AND lng BETWEEN $7 AND $8
  AND ($2::boolean IS NULL OR has_trash = $2)
  AND ($3::float8 IS NULL OR confidence >= $3)
ORDER BY created_at DESC, id DESC
LIMIT $4

-- name: detections
-- $1 media ids
SELECT media_id, id, label, confidence, x, y, w, h, area_sqm, is_manual
FROM detection
WHERE media_id = ANY ($1::uuid[])
ORDER BY media_id, id

-- name: cells
-- $1 user id, $2 $3 latitudes, $4 $5 longitudes, $6 size of a cell in degrees. Reads every photo. In
-- numeric, because 0.3 / 0.1 is 2.9999999999999996 in floating point and would put the photo into the
-- wrong cell.
WITH placed AS MATERIALIZED (
    SELECT
        confidence,
        labels,
        floor(lat::numeric / $6::float8::numeric) * $6::float8::numeric AS cell_lat,
        floor(lng::numeric / $6::float8::numeric) * $6::float8::numeric AS cell_lng
    FROM media
    WHERE user_id = $1
      AND lat BETWEEN $2 AND $3
      AND lng BETWEEN $4 AND $5
      AND has_trash
),
counted AS (
    SELECT cell_lat, cell_lng, count(*) AS count, avg(confidence::numeric) AS confidence
    FROM placed
    GROUP BY cell_lat, cell_lng
),
named AS (
    SELECT DISTINCT ON (p.cell_lat, p.cell_lng) p.cell_lat, p.cell_lng, l.label
    FROM placed AS p
    CROSS JOIN LATERAL unnest(p.labels) AS l (label)
    GROUP BY p.cell_lat, p.cell_lng, l.label
    ORDER BY p.cell_lat, p.cell_lng, count(*) DESC, l.label
)
SELECT
    c.cell_lat::float8 AS lat,
    c.cell_lng::float8 AS lng,
    round(c.count / ($6::float8::numeric * $6::float8::numeric), 2)::float8 AS density,
    c.count,
    round(c.confidence, 2)::float8 AS confidence,
    n.label
FROM counted AS c
LEFT JOIN named AS n ON n.cell_lat = c.cell_lat AND n.cell_lng = c.cell_lng
ORDER BY c.cell_lat, c.cell_lng

-- name: counted_cells
-- As `cells`, with $6 a multiple of 0.005. Adds up what is counted already; only of the cells that the
-- box cuts through the photos are read.
WITH seen AS MATERIALIZED (
    SELECT
        lat_cell,
        lng_cell,
        photos,
        rated,
        confidence,
        lat_cell >= -map_cell_of(-$2::float8)
            AND lat_cell < map_cell_of($3)
            AND lng_cell >= -map_cell_of(-$4::float8)
            AND lng_cell < map_cell_of($5) AS is_inside
    FROM map_cell
    WHERE user_id = $1
      AND lat_cell BETWEEN map_cell_of($2) AND map_cell_of($3)
      AND lng_cell BETWEEN map_cell_of($4) AND map_cell_of($5)
),
cut AS MATERIALIZED (
    SELECT s.lat_cell, s.lng_cell, m.confidence::numeric AS confidence, m.labels
    FROM seen AS s
    JOIN media AS m
        ON m.user_id = $1
        AND map_cell_of(m.lat) = s.lat_cell
        AND map_cell_of(m.lng) = s.lng_cell
        AND m.has_trash
        AND m.lat IS NOT NULL
    WHERE NOT s.is_inside
      AND m.lat BETWEEN $2 AND $3
      AND m.lng BETWEEN $4 AND $5
),
size AS (
    SELECT $6::float8::numeric AS degrees, $6::float8::numeric / 0.005 AS cells
),
counted AS (
    SELECT
        floor(lat_cell / z.cells) AS cell_row,
        floor(lng_cell / z.cells) AS cell_col,
        sum(photos) AS count,
        sum(confidence) / NULLIF(sum(rated), 0) AS confidence
    FROM (
        SELECT lat_cell, lng_cell, photos, rated, confidence FROM seen WHERE is_inside
        UNION ALL
        SELECT lat_cell, lng_cell, 1, num_nonnulls(confidence), confidence FROM cut
    ) AS part
    CROSS JOIN size AS z
    GROUP BY 1, 2
),
named AS (
    SELECT DISTINCT ON (1, 2)
        floor(lat_cell / z.cells) AS cell_row,
        floor(lng_cell / z.cells) AS cell_col,
        label
    FROM (
        SELECT l.lat_cell, l.lng_cell, l.label, l.things
        FROM seen AS s
        JOIN map_label AS l ON l.user_id = $1 AND l.lat_cell = s.lat_cell AND l.lng_cell = s.lng_cell
        WHERE s.is_inside
        UNION ALL
        SELECT lat_cell, lng_cell, l.label, 1 FROM cut CROSS JOIN LATERAL unnest(labels) AS l (label)
    ) AS part
    CROSS JOIN size AS z
    GROUP BY 1, 2, label
    ORDER BY 1, 2, sum(things) DESC, label
)
SELECT
    (c.cell_row * z.degrees)::float8 AS lat,
    (c.cell_col * z.degrees)::float8 AS lng,
    round(c.count / (z.degrees * z.degrees), 2)::float8 AS density,
    c.count::bigint AS count,
    round(c.confidence, 2)::float8 AS confidence,
    n.label
FROM counted AS c
CROSS JOIN size AS z
LEFT JOIN named AS n ON n.cell_row = c.cell_row AND n.cell_col = c.cell_col
ORDER BY c.cell_row, c.cell_col

-- name: history
-- $1 user id, $2 media id. Oldest first; one row of nulls for a photo without history, none for one
-- that is not the user's.
SELECT l.action, l.message, l.worker_name, l.logged_at
FROM media AS m
LEFT JOIN media_log AS l ON l.media_id = m.id
WHERE m.id = $2
  AND m.user_id = $1
ORDER BY l.seq
