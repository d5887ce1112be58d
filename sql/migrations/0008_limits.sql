-- What one user may hold: open sockets, each of which has a place, and photos.
-- depends: 0004_media

-- The primary key is the limit: nobody finds a place that a living process holds. `boot` is that
-- process; its row in `actor` tells whether it lives.
CREATE TABLE socket_place (
    user_id text NOT NULL,
    place smallint NOT NULL,
    boot bigint NOT NULL,
    CONSTRAINT socket_place_pkey PRIMARY KEY (user_id, place)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX socket_place_boot_idx ON socket_place (boot);

-- Counted in the user's row that every change of a photo locks anyway, because nobody counts 100,000
-- photos while somebody waits.
ALTER TABLE feed
    ADD COLUMN kept_files bigint NOT NULL DEFAULT 0,
    ADD COLUMN kept_bytes bigint NOT NULL DEFAULT 0;
UPDATE feed AS f
SET kept_files = m.files,
    kept_bytes = m.bytes
FROM (SELECT user_id, count(*) AS files, sum(size_bytes) AS bytes FROM media GROUP BY user_id) AS m
WHERE m.user_id = f.user_id;
