-- What readers have missed is read along the index, whatever the statistics say.
-- depends: 0004_media

-- The changes of each of `users` after the number in `places`, at most `share` of each, in order.
-- Where the planner takes a user's history for short, as it does for a table that was never analyzed and for the few
-- users who have much more than others, it reads all that is missed and sorts it, for every page again.
CREATE FUNCTION changes_after(users text[], places bigint[], share integer)
RETURNS TABLE (
    user_id text,
    seq bigint,
    media_id uuid,
    status text,
    worker_name text,
    logged_at timestamptz,
    address text,
    store_path text,
    is_stored boolean
)
LANGUAGE plpgsql
STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        l.user_id,
        l.seq,
        l.media_id,
        l.status,
        l.worker_name,
        l.logged_at,
        m.address,
        m.store_path,
        m.stored_at IS NOT NULL
    FROM unnest(users, places) AS reader (user_id, seq)
    CROSS JOIN LATERAL (
        SELECT user_id, seq, media_id, status, worker_name, logged_at
        FROM media_log
        WHERE user_id = reader.user_id
          AND seq > reader.seq
          AND action = 'STATUS_CHANGE'
        ORDER BY seq
        LIMIT share
    ) AS l
    JOIN media AS m ON m.id = l.media_id
    ORDER BY l.user_id, l.seq;
END
$$;
