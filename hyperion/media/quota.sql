-- name: kept
-- $1 user id. How many photos, and bytes of them, the user keeps: counted by triggers on `media`. No row
-- before the first photo.
SELECT photos, kept_bytes
FROM feed
WHERE user_id = $1
