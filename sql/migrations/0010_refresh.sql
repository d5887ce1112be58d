-- Which token took the place of a revoked one, so that what is open can live on under it.
-- depends: 0004_media

ALTER TABLE revoked_token
    ADD COLUMN successor text,
    ADD COLUMN successor_expires_at timestamptz,
    ADD CONSTRAINT revoked_token_successor_check CHECK ((successor IS NULL) = (successor_expires_at IS NULL));
