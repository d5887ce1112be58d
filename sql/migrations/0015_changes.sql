-- A change of photos and its history are one statement, and nobody is woken who does not watch.
-- depends: 0004_media 0008_limits

-- Writes one row of history for each of the photos, of which `user_ids` are the owners in the same order.
-- The rows are numbered in each user's feed, whose row stays locked until the commit; so call it when the
-- photos are locked.
CREATE FUNCTION write_history(
    media_ids uuid[], user_ids text[], new_status text, new_action text, new_message text, worker text
) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    WITH changed AS MATERIALIZED (
        SELECT
            id,
            user_id,
            row_number() OVER (PARTITION BY user_id ORDER BY id) AS place,
            count(*) OVER (PARTITION BY user_id) AS total
        FROM unnest(media_ids, user_ids) AS c (id, user_id)
    ),
    numbered AS (
        INSERT INTO feed AS f (user_id, seq)
        SELECT DISTINCT user_id, total
        FROM changed
        ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET seq = f.seq + EXCLUDED.seq
        RETURNING f.user_id, f.seq
    )
    INSERT INTO media_log (user_id, seq, media_id, status, action, message, worker_name)
    SELECT c.user_id, n.seq - c.total + c.place, c.id, new_status, new_action, new_message, worker
    FROM changed AS c
    JOIN numbered AS n ON n.user_id = c.user_id;
END
$$;

-- Rings for those of the users whose photos somebody watches: each bell wakes a server process for every
-- listener of the database. Who opens a socket takes its place before it reads how far the changes are.
CREATE FUNCTION live_wake(users text[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_notify('hyperion_live', user_id)
    FROM (SELECT DISTINCT user_id FROM socket_place WHERE user_id = ANY (users)) AS watched;
END
$$;
