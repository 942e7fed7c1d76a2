-- One row for each time the shelf changed.
CREATE TABLE publication (
    version BIGINT PRIMARY KEY CHECK (version > 0),
    digest TEXT NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    published_at TIMESTAMPTZ NOT NULL,
    published_by TEXT NOT NULL CHECK (published_by <> '')
);

-- Every price there ever was. Its id is a digest of its content.
CREATE TABLE price_version (
    id TEXT PRIMARY KEY CHECK (id ~ '^pr_[0-9a-f]{24}$'),
    model TEXT NOT NULL,
    price JSONB NOT NULL CHECK (price ->> 'model' = model),
    UNIQUE (model, id)
);

-- Which price a model had from when to when; the one without an end is in force.
CREATE TABLE price_period (
    model TEXT NOT NULL,
    valid_from TIMESTAMPTZ NOT NULL,
    valid_until TIMESTAMPTZ CHECK (valid_until > valid_from),
    price_id TEXT NOT NULL,
    version BIGINT NOT NULL REFERENCES publication,
    PRIMARY KEY (model, valid_from),
    FOREIGN KEY (model, price_id) REFERENCES price_version (model, id)
);

CREATE UNIQUE INDEX price_period_in_force ON price_period (model) WHERE valid_until IS NULL;
CREATE INDEX price_period_price ON price_period (price_id);

-- What is on the shelf now. A publication replaces all of it.
CREATE TABLE provider (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    credential TEXT NOT NULL CHECK (credential <> '')
);

CREATE TABLE provider_protocol (
    provider TEXT NOT NULL REFERENCES provider,
    protocol TEXT NOT NULL CHECK (protocol IN ('openai_chat', 'anthropic_messages')),
    base_url TEXT NOT NULL CHECK (base_url <> ''),
    auth TEXT NOT NULL CHECK (auth IN ('bearer', 'x-api-key')),
    PRIMARY KEY (provider, protocol)
);

CREATE TABLE model (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    description TEXT NOT NULL CHECK (description <> ''),
    owned_by TEXT NOT NULL CHECK (owned_by <> ''),
    created BIGINT NOT NULL,
    context_tokens BIGINT NOT NULL CHECK (context_tokens > 0),
    max_output_tokens BIGINT NOT NULL CHECK (max_output_tokens BETWEEN 1 AND context_tokens),
    input_modalities TEXT[] NOT NULL,
    output_modalities TEXT[] NOT NULL,
    supported_parameters TEXT[] NOT NULL,
    served_as TEXT CHECK (served_as <> ''),
    price_id TEXT NOT NULL,
    FOREIGN KEY (id, price_id) REFERENCES price_version (model, id)
);

CREATE TABLE offer (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL REFERENCES model,
    provider TEXT NOT NULL,
    protocol TEXT NOT NULL,
    upstream_model TEXT NOT NULL CHECK (upstream_model <> ''),
    on_disconnect TEXT NOT NULL CHECK (on_disconnect IN ('cancel', 'drain')),
    priority INT NOT NULL CHECK (priority >= 0),
    profile JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(profile) = 'object'),
    weight INT NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    deadlines JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(deadlines) = 'object'),
    FOREIGN KEY (provider, protocol) REFERENCES provider_protocol (provider, protocol)
);

CREATE INDEX offer_model ON offer (model, priority);

-- Keys of providers' accounts. A publication replaces those of the file; a stored one stays until it is removed. None
-- refers to its provider's row: publications replace that one too, also those of a release that knows no credentials.
CREATE TABLE credential (
    id TEXT PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    provider TEXT NOT NULL CHECK (provider <> ''),
    origin TEXT NOT NULL CHECK (origin IN ('file', 'stored')),
    variable TEXT NOT NULL DEFAULT '',
    sealed TEXT NOT NULL DEFAULT '',
    weight INT NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    max_concurrent INT CHECK (max_concurrent > 0),
    added_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK (CASE origin
        WHEN 'file' THEN variable ~ '^[A-Z][A-Z0-9_]*$' AND sealed = ''
        ELSE variable = '' AND id <> provider AND sealed ~ '^[A-Za-z0-9_-]{40,}={0,2}$'
    END)
);

-- What an operator took out of service, until it is resumed. A publication changes nothing about it.
CREATE TABLE pause (
    kind TEXT NOT NULL CHECK (kind IN ('offer', 'provider', 'credential')),
    id TEXT NOT NULL CHECK (id <> ''),
    reason TEXT NOT NULL CHECK (reason <> ''),
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, id)
);

CREATE FUNCTION refuse_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', tg_table_name USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER price_version_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON price_version
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER publication_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON publication
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON publication, price_version, price_period TO tokenoutput_catalog;
GRANT UPDATE (valid_until) ON price_period TO tokenoutput_catalog;
GRANT SELECT, INSERT, DELETE ON provider, provider_protocol, model, offer TO tokenoutput_catalog;
GRANT SELECT, INSERT, DELETE ON credential, pause TO tokenoutput_catalog;
GRANT UPDATE (sealed) ON credential TO tokenoutput_catalog;
GRANT UPDATE (reason) ON pause TO tokenoutput_catalog;
