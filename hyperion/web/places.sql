-- The places of users' open sockets. A process lives while its row in `actor` says so.

-- name: take_place
-- $1 user id, $2 boot id, $3 how many places a user has, $4 seconds of silence after which a process
-- is dead. Returns the place; no row: all are taken, or somebody was quicker.
WITH living AS (
    SELECT boot
    FROM actor
    WHERE state NOT IN ('gone', 'drained')
      AND beat_at > now() - make_interval(secs => $4)
    UNION
    SELECT $2
)
INSERT INTO socket_place AS p (user_id, place, boot)
SELECT $1, n, $2
FROM generate_series(1, $3::int) AS n
WHERE NOT EXISTS (
    SELECT 1
    FROM socket_place AS taken
    JOIN living ON living.boot = taken.boot
    WHERE taken.user_id = $1
      AND taken.place = n
)
ORDER BY random()
LIMIT 1
ON CONFLICT (user_id, place) DO UPDATE
SET boot = EXCLUDED.boot
WHERE p.boot NOT IN (SELECT boot FROM living)
RETURNING place

-- name: keep_only
-- $1 boot id, $2 user ids, $3 $4 the users and places that this process still holds. Gives back
-- whatever else it has of these users.
DELETE FROM socket_place AS p
WHERE p.boot = $1
  AND p.user_id = ANY ($2::text[])
  AND NOT EXISTS (
      SELECT 1
      FROM unnest($3::text[], $4::smallint[]) AS held (user_id, place)
      WHERE held.user_id = p.user_id
        AND held.place = p.place
  )

-- name: renew
-- $1 boot id, $2 $3 the users and places that this process holds. Writes what was swept again; what
-- somebody else was given in the meantime stays theirs.
INSERT INTO socket_place (user_id, place, boot)
SELECT DISTINCT user_id, place, $1::bigint
FROM unnest($2::text[], $3::smallint[]) AS held (user_id, place)
ORDER BY user_id, place
ON CONFLICT (user_id, place) DO NOTHING
