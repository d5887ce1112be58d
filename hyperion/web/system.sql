-- name: ping
-- Anything that makes the database answer.
SELECT 1
