-- Offers of one priority share by weight. A release that does not know it yet writes offers without the new columns,
-- each with a priority of its own.
ALTER TABLE offer
    ADD weight INT NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    ADD deadlines JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(deadlines) = 'object'),
    DROP CONSTRAINT offer_model_priority_key;
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

GRANT SELECT, INSERT, DELETE ON credential, pause TO tokenoutput_catalog;
GRANT UPDATE (sealed) ON credential TO tokenoutput_catalog;
GRANT UPDATE (reason) ON pause TO tokenoutput_catalog;
