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
-- wrong cell. Of tiny cells the density can be beyond what a double holds.
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
    least(round(c.count / ($6::float8::numeric * $6::float8::numeric), 2), 1.7976931348623157e308)::float8 AS density,
    c.count,
    round(c.confidence, 2)::float8 AS confidence,
    n.label
FROM counted AS c
LEFT JOIN named AS n ON n.cell_lat = c.cell_lat AND n.cell_lng = c.cell_lng
ORDER BY c.cell_lat, c.cell_lng

-- name: counted_cells
-- As `cells`, with $6 a multiple of 0.005. Adds up what is counted already; only of the cells that the
-- box cuts through the photos are read.
WITH box AS (
    SELECT
        -map_cell_of(-$2::float8) AS south,
        map_cell_of($3) AS north,
        -map_cell_of(-$4::float8) AS west,
        map_cell_of($5) AS east,
        $6::float8::numeric AS degrees,
        ($6::float8::numeric / 0.005)::float8 AS cells
),
cut AS MATERIALIZED (
    SELECT c.lat_cell, c.lng_cell, m.labels, m.photos, m.rated, m.confidence
    FROM box AS b
    JOIN map_cell AS c
        ON c.user_id = $1
        AND c.lat_cell BETWEEN map_cell_of($2) AND map_cell_of($3)
        AND c.lng_cell BETWEEN map_cell_of($4) AND map_cell_of($5)
        AND NOT (c.lat_cell >= b.south AND c.lat_cell < b.north AND c.lng_cell >= b.west AND c.lng_cell < b.east)
    CROSS JOIN LATERAL (  -- grouped cell by cell: few photos of a cell differ in their labels
        SELECT labels, count(*) AS photos, count(confidence) AS rated, sum(confidence::numeric) AS confidence
        FROM media
        WHERE user_id = $1
          AND map_cell_of(lat) = c.lat_cell
          AND map_cell_of(lng) = c.lng_cell
          AND has_trash
          AND lat IS NOT NULL
          AND lat BETWEEN $2 AND $3
          AND lng BETWEEN $4 AND $5
        GROUP BY labels
    ) AS m
),
counted AS (
    SELECT
        floor(lat_cell / b.cells)::integer AS lat_row,
        floor(lng_cell / b.cells)::integer AS lng_row,
        sum(photos)::bigint AS count,
        sum(part.confidence) / NULLIF(sum(rated), 0) AS confidence
    FROM box AS b
    CROSS JOIN LATERAL (
        SELECT lat_cell, lng_cell, photos, rated, confidence
        FROM map_cell
        WHERE user_id = $1
          AND lat_cell >= b.south
          AND lat_cell < b.north
          AND lng_cell >= b.west
          AND lng_cell < b.east
        UNION ALL
        SELECT lat_cell, lng_cell, photos, rated, confidence FROM cut
    ) AS part
    GROUP BY lat_row, lng_row
),
named AS (
    SELECT DISTINCT ON (lat_row, lng_row)
        floor(lat_cell / b.cells)::integer AS lat_row,
        floor(lng_cell / b.cells)::integer AS lng_row,
        label
    FROM box AS b
    CROSS JOIN LATERAL (
        SELECT lat_cell, lng_cell, label, things
        FROM map_label
        WHERE user_id = $1
          AND lat_cell >= b.south
          AND lat_cell < b.north
          AND lng_cell >= b.west
          AND lng_cell < b.east
        UNION ALL
        SELECT lat_cell, lng_cell, l.label, photos FROM cut CROSS JOIN LATERAL unnest(labels) AS l (label)
    ) AS part
    GROUP BY lat_row, lng_row, label
    ORDER BY lat_row, lng_row, sum(things) DESC, label
)
SELECT
    (c.lat_row * b.degrees)::float8 AS lat,
    (c.lng_row * b.degrees)::float8 AS lng,
    round(c.count / (b.degrees * b.degrees), 2)::float8 AS density,
    c.count,
    round(c.confidence, 2)::float8 AS confidence,
    n.label
FROM box AS b
CROSS JOIN counted AS c
LEFT JOIN named AS n ON n.lat_row = c.lat_row AND n.lng_row = c.lng_row
ORDER BY c.lat_row, c.lng_row

-- name: history
-- $1 user id, $2 media id. Oldest first; one row of nulls for a photo without history, none for one
-- that is not the user's.
SELECT l.action, l.message, l.worker_name, l.logged_at
FROM media AS m
LEFT JOIN media_log AS l ON l.media_id = m.id
WHERE m.id = $2
  AND m.user_id = $1
ORDER BY l.seq
