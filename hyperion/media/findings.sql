-- name: keep_facts
-- $1 media id, $2 worker, $3 what the history says, $4 latitude, $5 longitude, $6 altitude in metres, $7 address,
-- $8 technical metadata (JSON text), $9 JPEG bytes of the small picture. From EXTRACTING to PROCESSING; returns
-- the photo's owner.
WITH changed AS (
    UPDATE media
    SET status = 'PROCESSING',
        assigned_worker = $2,
        updated_at = now(),
        lat = $4,
        lng = $5,
        altitude = $6,
        address = $7,
        technical_metadata = technical_metadata || $8::jsonb
    WHERE id = $1
      AND status = 'EXTRACTING'
    RETURNING id, user_id
),
shown AS (
    INSERT INTO media_thumbnail (media_id, content)
    SELECT id, $9
    FROM changed
    ON CONFLICT (media_id) DO UPDATE SET content = EXCLUDED.content
)
SELECT user_id, write_history(ARRAY[id], ARRAY[user_id], 'PROCESSING', 'STATUS_CHANGE', $3, $2)
FROM changed

-- name: keep_finding
-- $1 media id, $2 worker, $3 what the history says, $4 has trash, $5 confidence 0..100 or null, $6 technical metadata
-- (JSON text). From PROCESSING to READY; a photo that its owner has corrected stays as it is otherwise. Returns
-- its owner, whether it was corrected, and whether it has detections.
WITH changed AS (
    UPDATE media
    SET status = 'READY',
        assigned_worker = $2,
        updated_at = now(),
        has_trash = CASE WHEN corrected_at IS NULL THEN $4 ELSE has_trash END,
        confidence = CASE WHEN corrected_at IS NULL THEN $5 ELSE confidence END,
        technical_metadata = technical_metadata || CASE WHEN corrected_at IS NULL THEN $6::jsonb ELSE '{}' END
    WHERE id = $1
      AND status = 'PROCESSING'
    RETURNING id, user_id, corrected_at IS NOT NULL AS is_corrected, labels <> '{}' AS has_detections
)
SELECT
    user_id,
    is_corrected,
    has_detections,
    write_history(ARRAY[id], ARRAY[user_id], 'READY', 'STATUS_CHANGE', $3, $2)
FROM changed

-- name: forget_detections
-- $1 media id
DELETE FROM detection
WHERE media_id = $1

-- name: insert_detections
-- $1 media id, $2 labels, $3 confidences 0..1, $4 $5 $6 $7 x, y, w, h as fractions, $8 areas in square metres
INSERT INTO detection (media_id, label, confidence, x, y, w, h, area_sqm)
SELECT $1, d.*
FROM unnest($2::text[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[], $8::float8[]) AS d
