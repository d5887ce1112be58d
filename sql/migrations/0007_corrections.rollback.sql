ALTER TABLE detection DROP COLUMN is_manual;
ALTER TABLE media DROP COLUMN corrected_at;
