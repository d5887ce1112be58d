LOCK TABLE media, feed IN SHARE ROW EXCLUSIVE MODE;
ALTER TABLE feed ADD COLUMN kept_files bigint NOT NULL DEFAULT 0;
UPDATE feed SET kept_files = photos;
CREATE OR REPLACE FUNCTION count_media() RETURNS trigger
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
