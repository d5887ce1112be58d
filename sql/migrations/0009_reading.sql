-- What is counted when it happens, so that reading need not count: a user's photos, and litter by cell.
-- depends: 0004_media

LOCK TABLE app_user, media, media_blob, detection, feed IN SHARE ROW EXCLUSIVE MODE;

-- How many photos the user has, and a number that grows with every change of one.
ALTER TABLE feed
    ADD COLUMN photos bigint NOT NULL DEFAULT 0,
    ADD COLUMN version bigint NOT NULL DEFAULT 0;

-- A new photo locks its user's row in feed until the commit, so its bytes go first.
ALTER TABLE media_blob ALTER CONSTRAINT media_blob_media_id_fkey DEFERRABLE INITIALLY DEFERRED;

-- The labels of the photo's detections, each as often as it was found: what the cells count, also when
-- a photo is deleted and its detections with it.
ALTER TABLE media ADD COLUMN labels text[] NOT NULL DEFAULT '{}';

CREATE FUNCTION map_cell_of(degrees double precision) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN floor(degrees::numeric / 0.005)::integer;

-- Covers what is read of the photos in a cell that the edge of a box cuts through.
CREATE INDEX media_litter_idx ON media (user_id, map_cell_of(lat), map_cell_of(lng))
    INCLUDE (lat, lng, confidence, labels)
    WHERE has_trash AND lat IS NOT NULL;

-- Photos with litter by cell of 0.005 degrees. No foreign key: the rows go with the last photo in them.
CREATE TABLE map_cell (
    user_id text NOT NULL,
    lat_cell integer NOT NULL,
    lng_cell integer NOT NULL,
    photos bigint NOT NULL,
    rated bigint NOT NULL,
    confidence numeric NOT NULL,
    CONSTRAINT map_cell_pkey PRIMARY KEY (user_id, lat_cell, lng_cell)
) WITH (fillfactor = 70);
COMMENT ON COLUMN map_cell.rated IS 'photos with a confidence';
COMMENT ON COLUMN map_cell.confidence IS 'sum of the confidences; numeric, so that what is added can be taken away again';

CREATE TABLE map_label (
    user_id text NOT NULL,
    lat_cell integer NOT NULL,
    lng_cell integer NOT NULL,
    label text NOT NULL,
    things bigint NOT NULL,
    CONSTRAINT map_label_pkey PRIMARY KEY (user_id, lat_cell, lng_cell, label)
) WITH (fillfactor = 70);

CREATE TYPE map_change AS (
    user_id text,
    lat_cell integer,
    lng_cell integer,
    confidence numeric,
    labels text[],
    sign integer
);

CREATE FUNCTION count_litter(changes map_change[]) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    INSERT INTO map_cell AS c (user_id, lat_cell, lng_cell, photos, rated, confidence)
    SELECT user_id, lat_cell, lng_cell, sum(sign), sum(sign * num_nonnulls(confidence)), COALESCE(sum(sign * confidence), 0)
    FROM unnest(changes)
    GROUP BY user_id, lat_cell, lng_cell
    ON CONFLICT (user_id, lat_cell, lng_cell) DO UPDATE
    SET photos = c.photos + EXCLUDED.photos,
        rated = c.rated + EXCLUDED.rated,
        confidence = c.confidence + EXCLUDED.confidence;

    INSERT INTO map_label AS l (user_id, lat_cell, lng_cell, label, things)
    SELECT user_id, lat_cell, lng_cell, label, sum(sign)
    FROM unnest(changes)
    CROSS JOIN LATERAL unnest(labels) AS label
    GROUP BY user_id, lat_cell, lng_cell, label
    ON CONFLICT (user_id, lat_cell, lng_cell, label) DO UPDATE
    SET things = l.things + EXCLUDED.things;

    DELETE FROM map_cell AS c
    USING unnest(changes) AS g
    WHERE (c.user_id, c.lat_cell, c.lng_cell) = (g.user_id, g.lat_cell, g.lng_cell)
      AND c.photos = 0;

    DELETE FROM map_label AS l
    USING unnest(changes) AS g
    WHERE (l.user_id, l.lat_cell, l.lng_cell) = (g.user_id, g.lat_cell, g.lng_cell)
      AND l.things = 0;
END
$$;

-- The feed's rows are locked first and in one order, so nobody meets another on the cells of a user.
CREATE FUNCTION count_media() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    changes map_change[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO feed AS f (user_id, photos, version)
        SELECT user_id, count(*), 1 FROM new_media GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET photos = f.photos + EXCLUDED.photos, version = f.version + 1;
        changes := ARRAY(
            SELECT ROW(user_id, map_cell_of(lat), map_cell_of(lng), confidence, labels, 1)::map_change
            FROM new_media
            WHERE has_trash AND lat IS NOT NULL
        );
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE feed AS f
        SET photos = f.photos - g.photos,
            version = f.version + 1
        FROM (SELECT user_id, count(*) AS photos FROM old_media GROUP BY user_id) AS g
        WHERE f.user_id = g.user_id;
        changes := ARRAY(
            SELECT ROW(user_id, map_cell_of(lat), map_cell_of(lng), confidence, labels, -1)::map_change
            FROM old_media
            WHERE has_trash AND lat IS NOT NULL
        );
    ELSE
        INSERT INTO feed AS f (user_id, version)
        SELECT DISTINCT user_id, 1 FROM new_media ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET version = f.version + 1;
        changes := ARRAY(
            SELECT ROW(c.user_id, map_cell_of(c.lat), map_cell_of(c.lng), c.confidence, c.labels, c.sign)::map_change
            FROM old_media AS o
            JOIN new_media AS n ON n.id = o.id
            CROSS JOIN LATERAL (VALUES
                (o.user_id, o.has_trash, o.lat, o.lng, o.confidence, o.labels, -1),
                (n.user_id, n.has_trash, n.lat, n.lng, n.confidence, n.labels, 1)
            ) AS c (user_id, has_trash, lat, lng, confidence, labels, sign)
            WHERE (o.has_trash, o.lat, o.lng, o.confidence, o.labels)
                  IS DISTINCT FROM (n.has_trash, n.lat, n.lng, n.confidence, n.labels)
              AND c.has_trash
              AND c.lat IS NOT NULL
        );
    END IF;
    IF cardinality(changes) > 0 THEN
        PERFORM count_litter(changes);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION copy_labels() RETURNS trigger
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    UPDATE media AS m
    SET labels = ARRAY(SELECT label FROM detection WHERE media_id = m.id ORDER BY label)
    WHERE m.id IN (SELECT media_id FROM changed);
    RETURN NULL;
END
$$;

UPDATE media AS m
SET labels = found.labels
FROM (SELECT media_id, array_agg(label ORDER BY label) AS labels FROM detection GROUP BY media_id) AS found
WHERE m.id = found.media_id;

INSERT INTO feed AS f (user_id, photos)
SELECT user_id, count(*) FROM media GROUP BY user_id
ON CONFLICT (user_id) DO UPDATE SET photos = EXCLUDED.photos;

INSERT INTO map_cell (user_id, lat_cell, lng_cell, photos, rated, confidence)
SELECT user_id, map_cell_of(lat), map_cell_of(lng), count(*), count(confidence), COALESCE(sum(confidence::numeric), 0)
FROM media
WHERE has_trash AND lat IS NOT NULL
GROUP BY user_id, map_cell_of(lat), map_cell_of(lng);

INSERT INTO map_label (user_id, lat_cell, lng_cell, label, things)
SELECT user_id, map_cell_of(lat), map_cell_of(lng), label, count(*)
FROM media
CROSS JOIN LATERAL unnest(labels) AS label
WHERE has_trash AND lat IS NOT NULL
GROUP BY user_id, map_cell_of(lat), map_cell_of(lng), label;

CREATE TRIGGER media_added AFTER INSERT ON media
    REFERENCING NEW TABLE AS new_media
    FOR EACH STATEMENT EXECUTE FUNCTION count_media();
CREATE TRIGGER media_changed AFTER UPDATE ON media
    REFERENCING OLD TABLE AS old_media NEW TABLE AS new_media
    FOR EACH STATEMENT EXECUTE FUNCTION count_media();
CREATE TRIGGER media_removed AFTER DELETE ON media
    REFERENCING OLD TABLE AS old_media
    FOR EACH STATEMENT EXECUTE FUNCTION count_media();
CREATE TRIGGER detection_added AFTER INSERT ON detection
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION copy_labels();
CREATE TRIGGER detection_changed AFTER UPDATE ON detection
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION copy_labels();
CREATE TRIGGER detection_removed AFTER DELETE ON detection
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION copy_labels();
