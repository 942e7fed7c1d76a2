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
    UNIQUE (model, priority),
    FOREIGN KEY (provider, protocol) REFERENCES provider_protocol (provider, protocol)
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
