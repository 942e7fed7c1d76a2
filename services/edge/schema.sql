CREATE TABLE org (
    org_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- A key is kept as an HMAC; its text is shown once and then nowhere.
CREATE TABLE api_key (
    key_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id BIGINT NOT NULL REFERENCES org,
    name TEXT NOT NULL CHECK (name <> ''),
    digest BYTEA NOT NULL UNIQUE CHECK (length(digest) = 32),
    hint TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    revoked_at TIMESTAMPTZ,
    cap_nano BIGINT CHECK (cap_nano > 0)
);

CREATE INDEX api_key_org ON api_key (org_id);

GRANT SELECT, INSERT, UPDATE ON org, api_key TO tokenoutput_edge;
