-- name: requests
SELECT route, method, status, duration_s, buckets
FROM request_total
ORDER BY route, method, status

-- name: uploads
SELECT result, files
FROM upload_total
ORDER BY result

-- name: durations
-- Per lane, summed over all actors that ever were, so that it never goes back.
SELECT lane, sum(duration_s) AS duration_s, array_agg(times ORDER BY place) AS buckets
FROM (
    SELECT t.lane, b.place, sum(b.times)::bigint AS times, sum(t.duration_s) FILTER (WHERE b.place = 1) AS duration_s
    FROM actor_total AS t
    CROSS JOIN unnest(t.buckets) WITH ORDINALITY AS b (times, place)
    WHERE t.lane IS NOT NULL
    GROUP BY t.lane, b.place
) AS summed
GROUP BY lane
ORDER BY lane

-- name: totals
-- $1 age in seconds. What the actors have done that are there or did something since.
SELECT DISTINCT COALESCE(t.label, a.label) AS label, t.lane, t.done, t.failed, COALESCE(t.restarts, 0) AS restarts
FROM actor_total AS t
FULL JOIN actor AS a ON a.label = t.label
WHERE a.label IS NOT NULL
   OR t.counted_at > now() - make_interval(secs => $1)
ORDER BY label

-- name: actors
-- $1 silence in seconds from which on nobody is behind a row. A node that came back under another name
-- may have left rows with the labels of its actors behind: only the newest of each counts.
SELECT DISTINCT ON (label)
    label,
    extract(epoch FROM clock_timestamp() - beat_at)::float8 AS age_s,
    state IN ('starting', 'ready', 'stopping') AND beat_at > now() - make_interval(secs => $1) AS is_there,
    loop_lag_s,
    pool_in_use,
    open_sockets
FROM actor
ORDER BY label, beat_at DESC
