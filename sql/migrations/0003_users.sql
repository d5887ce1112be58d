-- Who may sign in, which tokens are void, and how often somebody guessed wrong.
-- depends: 0002_actors

CREATE TABLE app_user (
    id text NOT NULL,
    email text NOT NULL,
    full_name text NOT NULL,
    language text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT app_user_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX app_user_email_idx ON app_user (lower(email));

CREATE TABLE revoked_token (
    jti text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT revoked_token_pkey PRIMARY KEY (jti)
);
CREATE INDEX revoked_token_expires_at_idx ON revoked_token (expires_at);

CREATE TABLE login_failure (
    id bigint GENERATED ALWAYS AS IDENTITY,
    key text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT login_failure_pkey PRIMARY KEY (id)
);
CREATE INDEX login_failure_key_idx ON login_failure (key, failed_at);
CREATE INDEX login_failure_failed_at_idx ON login_failure (failed_at);
