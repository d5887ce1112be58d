-- Corrections: what a photo's owner says is on it, which no later analysis overwrites.
-- depends: 0004_media

ALTER TABLE media ADD COLUMN corrected_at timestamptz;
ALTER TABLE detection ADD COLUMN is_manual boolean NOT NULL DEFAULT false;
