ALTER TABLE store_state
    DROP COLUMN doubtful_until;
