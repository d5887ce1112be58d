-- How the store is doing. All times are the database's.

-- name: load
-- $1 name of the store, $2 seconds in which a commit may still take place whose archiver is gone.
-- What an earlier archiver knew of it, new or not.
INSERT INTO store_state AS s (name)
VALUES ($1)
ON CONFLICT (name) DO UPDATE
SET in_doubt = false,
    doubtful_until = GREATEST(
        s.doubtful_until,
        CASE WHEN s.in_doubt THEN now() + make_interval(secs => $2) END
    )
RETURNING
    s.state,
    s.detail,
    s.resumes_at,
    GREATEST(extract(epoch FROM s.doubtful_until - now()), 0)::float8 AS doubt_s,
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
-- $1 name, $2 seconds in which it may still take place, or null: it is known what became of it
UPDATE store_state
SET in_doubt = false,
    doubtful_until = GREATEST(doubtful_until, now() + make_interval(secs => $2))
WHERE name = $1

-- name: show
-- $1 name
SELECT state, detail, resumes_at
FROM store_state
WHERE name = $1
