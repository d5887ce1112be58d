-- name: session_users
-- $1 token ids, $2 their users' ids. For each token that is not revoked its user, unless the user is gone,
-- with the number that grows with every change of one of the user's photos. OFFSET 0: each is looked up by
-- itself, by an index unless the table was empty when it was last analyzed. (SELECT $1): a plan for any number of
-- tokens; the planner would count those of an array that it sees, and plan anew each time.
SELECT s.jti, u.id, u.email, u.full_name, u.language, COALESCE(f.version, 0) AS photos_version
FROM unnest((SELECT $1::text[]), (SELECT $2::text[])) AS s (jti, user_id)
CROSS JOIN LATERAL (
    SELECT id, email, full_name, language
    FROM app_user
    WHERE id = s.user_id
    OFFSET 0
) AS u
LEFT JOIN LATERAL (
    SELECT version
    FROM feed
    WHERE user_id = s.user_id
    OFFSET 0
) AS f ON true
WHERE s.jti <> ALL (
    ARRAY (
        SELECT jti
        FROM revoked_token
        WHERE jti = ANY ((SELECT $1::text[])::text[])
    )
)

-- name: ended_sessions
-- $1 token ids, $2 their users' ids. Those that are revoked, with the token that took their place
-- if there is one, or whose user is gone.
SELECT s.jti, r.successor, r.successor_expires_at
FROM unnest($1::text[], $2::text[]) AS s (jti, user_id)
LEFT JOIN revoked_token AS r ON r.jti = s.jti
WHERE r.jti IS NOT NULL
   OR NOT EXISTS (SELECT 1 FROM app_user AS u WHERE u.id = s.user_id)

-- name: insert_user
-- $1 id, $2 email, $3 full name, $4 language, $5 hash of the password. No row: the email is taken.
INSERT INTO app_user (id, email, full_name, language, password_hash)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
RETURNING id

-- name: account
-- $1 email in its one spelling, $2 as it was given. Always one row: the account's key for the throttle,
-- and the user or nulls. The key has the database's idea of lower case, as the unique index on the email
-- does. An old account whose one spelling was somebody else's already is known by the spelling it has.
SELECT
    'account:' || encode(sha256(convert_to(lower($1::text), 'UTF8')), 'hex') AS key,
    u.id,
    u.email,
    u.full_name,
    u.language,
    u.password_hash
FROM (VALUES (1)) AS always (one)
LEFT JOIN app_user AS u ON lower(u.email) IN (lower($1::text), lower($2::text))
ORDER BY lower(u.email) = lower($2::text) DESC
LIMIT 1

-- name: update_user
-- $1 user id, $2 full name or null, $3 language or null. Null leaves a field as it is.
UPDATE app_user
SET full_name = COALESCE($2, full_name),
    language = COALESCE($3, language)
WHERE id = $1
RETURNING id, email, full_name, language

-- name: revoke
-- $1 token id, $2 when it expires anyway. Revokes the token and those that took its place; returns the
-- ids of those that were not revoked before.
WITH RECURSIVE session AS (
    SELECT $1::text AS jti, $2::timestamptz AS expires_at
    UNION ALL
    SELECT r.successor, r.successor_expires_at
    FROM session AS s
    JOIN revoked_token AS r ON r.jti = s.jti
    WHERE r.successor IS NOT NULL
)
INSERT INTO revoked_token (jti, expires_at)
SELECT jti, expires_at
FROM session
ON CONFLICT DO NOTHING
RETURNING jti

-- name: replace_token
-- $1 token id, $2 when it expires anyway, $3 the id of the token that takes its place, $4 when that
-- one expires. No row: somebody else has revoked or replaced it before.
INSERT INTO revoked_token (jti, expires_at, successor, successor_expires_at)
VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
RETURNING jti

-- name: use_ticket
-- $1 ticket id, $2 when it expires, $3 user id, $4 id of the token that it was given for. The user;
-- no row: the ticket was used before, the token is revoked or the user gone.
WITH used AS (
    INSERT INTO revoked_token (jti, expires_at)
    VALUES ($1, $2)
    ON CONFLICT DO NOTHING
    RETURNING jti
)
SELECT u.id, u.email, u.full_name, u.language
FROM used
CROSS JOIN app_user AS u
WHERE u.id = $3
  AND NOT EXISTS (
      SELECT 1
      FROM revoked_token AS r
      WHERE r.jti = $4
  )

-- name: read_clock
-- The time by which tokens begin and end.
SELECT clock_timestamp()

-- name: lock_keys
-- $1 keys, in the order that everybody takes them. Held until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended(k.key, 0))
FROM unnest($1::text[]) AS k (key)

-- name: failures
-- $1 keys, $2 how many failures each may have, $3 window in seconds. The keys that have used them
-- up, with the seconds until one is forgotten.
SELECT k.key, ceil($3::float8 - extract(epoch FROM now() - f.failed_at))::int AS wait_s
FROM unnest($1::text[], $2::int[]) AS k (key, allowed)
CROSS JOIN LATERAL (
    SELECT failed_at
    FROM login_failure
    WHERE key = k.key
      AND failed_at > now() - make_interval(secs => $3)
    ORDER BY failed_at DESC
    OFFSET k.allowed - 1
    LIMIT 1
) AS f

-- name: record_failures
-- $1 keys. Returns the ids of the new rows.
INSERT INTO login_failure (key)
SELECT key
FROM unnest($1::text[]) AS k (key)
RETURNING id

-- name: forget_failures
-- $1 key of the account, $2 ids of the rows that this attempt wrote.
DELETE FROM login_failure
WHERE key = $1
   OR id = ANY ($2::bigint[])
