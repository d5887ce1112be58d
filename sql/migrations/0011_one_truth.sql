-- What a user keeps is counted in one place, and each account has one spelling of its address.
-- depends: 0008_limits 0009_reading

LOCK TABLE app_user, media, feed IN SHARE ROW EXCLUSIVE MODE;

-- The photos that a user keeps were counted by the triggers, for the vault, and once more by the program,
-- for the limits; only the triggers see every way in which a photo goes. Their bytes are counted anew, as
-- the program's count may have missed some.
CREATE OR REPLACE FUNCTION count_media() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    changes map_change[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO feed AS f (user_id, photos, kept_bytes, version)
        SELECT user_id, count(*), sum(size_bytes), 1 FROM new_media GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE
        SET photos = f.photos + EXCLUDED.photos,
            kept_bytes = f.kept_bytes + EXCLUDED.kept_bytes,
            version = f.version + 1;
        changes := ARRAY(
            SELECT ROW(user_id, map_cell_of(lat), map_cell_of(lng), confidence, labels, 1)::map_change
            FROM new_media
            WHERE has_trash AND lat IS NOT NULL
        );
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE feed AS f
        SET photos = f.photos - g.photos,
            kept_bytes = f.kept_bytes - g.kept_bytes,
            version = f.version + 1
        FROM (
            SELECT user_id, count(*) AS photos, sum(size_bytes) AS kept_bytes FROM old_media GROUP BY user_id
        ) AS g
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

ALTER TABLE feed DROP COLUMN kept_files;
UPDATE feed AS f
SET kept_bytes = COALESCE((SELECT sum(size_bytes) FROM media AS m WHERE m.user_id = f.user_id), 0);

-- Sign-in looks for an address in NFKC. Those of before it did are brought to it, the oldest account first
-- where two would come to be the same; what is somebody else's already stays as it is.
UPDATE app_user AS u
SET email = c.email
FROM (
    SELECT DISTINCT ON (lower(email)) id, email
    FROM (SELECT id, created_at, email AS given, btrim(normalize(email, NFKC)) AS email FROM app_user) AS a
    WHERE email <> given
    ORDER BY lower(email), created_at, id
) AS c
WHERE u.id = c.id
  AND NOT EXISTS (SELECT 1 FROM app_user AS other WHERE lower(other.email) = lower(c.email) AND other.id <> u.id);
