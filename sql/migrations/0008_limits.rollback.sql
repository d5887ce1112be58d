ALTER TABLE feed
    DROP COLUMN kept_bytes,
    DROP COLUMN kept_files;
DROP TABLE socket_place;
