-- name: list_users
SELECT u.id, u.email, u.created_at, count(m.id) AS photos
FROM app_user AS u
LEFT JOIN media AS m ON m.user_id = u.id
GROUP BY u.id
ORDER BY u.created_at

-- name: lock_photos
-- $1 email. Keeps the user's photos as they are until the deletion.
SELECT m.store_path
FROM app_user AS u
JOIN media AS m ON m.user_id = u.id
WHERE lower(u.email) = lower($1)
ORDER BY m.id
FOR UPDATE

-- name: delete_user
-- $1 email
DELETE FROM app_user
WHERE lower(email) = lower($1)
RETURNING id
