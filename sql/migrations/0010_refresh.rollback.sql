ALTER TABLE revoked_token
    DROP CONSTRAINT revoked_token_successor_check,
    DROP COLUMN successor_expires_at,
    DROP COLUMN successor;
