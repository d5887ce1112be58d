-- A commit of which the end is not known may take place minutes later, also after others have.
-- depends: 0006_store

ALTER TABLE store_state
    ADD COLUMN doubtful_until timestamptz NOT NULL DEFAULT now();
