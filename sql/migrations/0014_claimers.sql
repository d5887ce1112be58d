-- Who lives off which lane of the queue, and who of them waits at this moment.
-- depends: 0001_queue

CREATE TABLE task_claimer (
    boot bigint NOT NULL,
    lane text NOT NULL,
    is_idle boolean NOT NULL,
    CONSTRAINT task_claimer_pkey PRIMARY KEY (boot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- Wakes as many of those who wait for work in the lane as there are tasks; each is woken once.
CREATE FUNCTION task_wake(wanted text, tasks integer) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    woken bigint;
BEGIN
    FOR woken IN
        WITH chosen AS MATERIALIZED (
            SELECT boot
            FROM task_claimer
            WHERE lane = wanted
              AND is_idle
            LIMIT tasks
            FOR UPDATE SKIP LOCKED
        )
        UPDATE task_claimer
        SET is_idle = false
        WHERE boot = ANY (ARRAY (SELECT boot FROM chosen))
        RETURNING boot
    LOOP
        PERFORM pg_notify('hyperion_claimer_' || woken, '');
    END LOOP;
END
$$;
