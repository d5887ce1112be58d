-- name: write_facts
-- $1 media id, $2 latitude, $3 longitude, $4 altitude in metres, $5 technical metadata (JSON text), $6 address
UPDATE media
SET lat = $2,
    lng = $3,
    altitude = $4,
    address = $6,
    technical_metadata = technical_metadata || $5::jsonb
WHERE id = $1

-- name: write_thumbnail
-- $1 media id, $2 JPEG bytes
INSERT INTO media_thumbnail (media_id, content)
VALUES ($1, $2)
ON CONFLICT (media_id) DO UPDATE SET content = EXCLUDED.content

-- name: write_finding
-- $1 media id, $2 has trash, $3 confidence 0..100 or null, $4 technical metadata (JSON text). Returns
-- nothing for a photo that its owner has corrected.
UPDATE media
SET has_trash = $2,
    confidence = $3,
    technical_metadata = technical_metadata || $4::jsonb
WHERE id = $1
  AND corrected_at IS NULL
RETURNING id

-- name: forget_detections
-- $1 media id
DELETE FROM detection
WHERE media_id = $1

-- name: insert_detections
-- $1 media id, $2 labels, $3 confidences 0..1, $4 $5 $6 $7 x, y, w, h as fractions, $8 areas in square metres
INSERT INTO detection (media_id, label, confidence, x, y, w, h, area_sqm)
SELECT $1, d.*
FROM unnest($2::text[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[], $8::float8[]) AS d
