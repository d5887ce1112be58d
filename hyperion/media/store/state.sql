-- How the store is doing. All times are the database's.

-- name: load
-- $1 name of the store. What an earlier archiver knew of it, new or not.
INSERT INTO store_state AS s (name)
VALUES ($1)
ON CONFLICT (name) DO UPDATE SET name = s.name
RETURNING
    s.state,
    s.detail,
    s.resumes_at,
    s.in_doubt,
    GREATEST(extract(epoch FROM s.resumes_at - now()), 0)::float8 AS pause_s,
    GREATEST(extract(epoch FROM s.commits_full_at - now()), 0)::float8 AS full_in_s

-- name: report
-- $1 name, $2 state, $3 detail or null, $4 seconds until the next try, or null
UPDATE store_state
SET state = $2,
    detail = $3,
    resumes_at = now() + make_interval(secs => $4),
    changed_at = now()
WHERE name = $1

-- name: begin_commit
-- $1 name, $2 seconds in which the store grants one commit
UPDATE store_state
SET commits_full_at = GREATEST(commits_full_at, now()) + make_interval(secs => $2),
    in_doubt = true
WHERE name = $1

-- name: end_commit
-- $1 name, $2 whether it is unknown what became of it
UPDATE store_state
SET in_doubt = $2
WHERE name = $1

-- name: show
-- $1 name
SELECT state, detail, resumes_at
FROM store_state
WHERE name = $1
