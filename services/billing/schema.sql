-- Money is nano-USD (10^-9 USD) in BIGINT.

-- An org has cash (`cust_cash`) and plan or promotional credit (`cust_plan`), which is spent first. The rest is ours.
CREATE TABLE account (
    account_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL
    CHECK (kind IN ('cust_cash', 'cust_plan', 'revenue', 'overrun_loss', 'promo_expense')),
    org_id BIGINT,
    shard SMALLINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK ((kind IN ('cust_cash', 'cust_plan')) = (org_id IS NOT NULL)),
    UNIQUE NULLS NOT DISTINCT (kind, org_id, shard)
);

-- The projection of an account's transfers, changed in the same transaction. `leased` is credit handed to Redis and not
-- yet consumed.
CREATE TABLE balance (
    account_id BIGINT PRIMARY KEY REFERENCES account,
    debits BIGINT NOT NULL DEFAULT 0 CHECK (debits >= 0),
    credits BIGINT NOT NULL DEFAULT 0 CHECK (credits >= 0),
    leased BIGINT NOT NULL DEFAULT 0 CHECK (leased >= 0),
    frozen BOOLEAN NOT NULL DEFAULT FALSE,
    frozen_for TEXT
) WITH (fillfactor = 70);

-- One row moves money from one account to another, so the books balance by construction.
CREATE TABLE transfer (
    transfer_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    posted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    idem_key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    debit_id BIGINT NOT NULL REFERENCES account,
    credit_id BIGINT NOT NULL REFERENCES account,
    amount BIGINT NOT NULL CHECK (amount > 0),
    reason TEXT NOT NULL DEFAULT '',
    CHECK (debit_id <> credit_id)
);
CREATE INDEX transfer_debit ON transfer (debit_id, transfer_id);
CREATE INDEX transfer_credit ON transfer (credit_id, transfer_id);

-- The id is a digest of the content (libs.pricing.version_of).
CREATE TABLE price_version (
    price_id TEXT PRIMARY KEY,
    content JSONB NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Credit handed to one Redis, of both buckets. An epoch is never made twice; after a loss there is a new one and the old is in doubt.
CREATE TABLE lease (
    org_id BIGINT NOT NULL,
    epoch INT NOT NULL,
    shard TEXT NOT NULL,
    gen TEXT NOT NULL,
    granted BIGINT NOT NULL CHECK (granted >= 0),
    consumed BIGINT NOT NULL DEFAULT 0,
    plan_granted BIGINT NOT NULL DEFAULT 0 CHECK (plan_granted >= 0),
    plan_consumed BIGINT NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'doubt', 'closed')),
    opened_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    doubt_at TIMESTAMPTZ,
    closed_at TIMESTAMPTZ,
    PRIMARY KEY (org_id, epoch),
    CHECK (consumed >= 0 AND consumed <= granted),
    CONSTRAINT lease_plan_check CHECK (plan_consumed >= 0 AND plan_consumed <= plan_granted)
);
CREATE UNIQUE INDEX lease_one_open ON lease (org_id, shard) WHERE state = 'open';
CREATE INDEX lease_in_doubt ON lease (doubt_at) WHERE state = 'doubt';

CREATE SEQUENCE batch_id AS BIGINT;

-- One row per admitted request. The id is a UUIDv7, so the table is partitioned by its own key: the key alone guards
-- against charging twice, and a month is a range of keys. A hold that nobody will ever charge ends as a void charge that
-- no offer served and that has no price.
CREATE TABLE charge (
    request_id UUID NOT NULL,
    org_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('usage', 'void', 'estimated')),
    reason TEXT NOT NULL,
    model TEXT NOT NULL,
    offer TEXT NOT NULL,
    provider TEXT NOT NULL,
    provider_model TEXT NOT NULL,
    provider_request_id TEXT,
    price_id TEXT REFERENCES price_version,
    tok_input BIGINT NOT NULL CHECK (tok_input >= 0),
    tok_cache_read BIGINT NOT NULL CHECK (tok_cache_read >= 0),
    tok_cache_write BIGINT NOT NULL CHECK (tok_cache_write >= 0),
    tok_cache_write_1h BIGINT NOT NULL CHECK (tok_cache_write_1h >= 0),
    tok_output BIGINT NOT NULL CHECK (tok_output >= 0),
    tok_reasoning BIGINT NOT NULL CHECK (tok_reasoning >= 0),
    cost BIGINT NOT NULL CHECK (cost >= 0),
    cash BIGINT NOT NULL CHECK (cash >= 0),
    plan BIGINT NOT NULL CHECK (plan >= 0),
    absorbed BIGINT NOT NULL CHECK (absorbed >= 0),
    held BIGINT NOT NULL CHECK (held >= 0),
    lease_epoch INT NOT NULL,
    stream BOOLEAN NOT NULL,
    client_gone BOOLEAN NOT NULL,
    accepted_at BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    first_token_at BIGINT,
    ended_at BIGINT NOT NULL,
    attempts JSONB NOT NULL,
    batch_id BIGINT NOT NULL,
    ev_hash BYTEA NOT NULL,
    charged_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    producer TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (request_id),
    CHECK (cost = cash + plan + absorbed),
    CHECK (cash + plan <= held),
    CONSTRAINT charge_price_check CHECK (price_id IS NOT NULL OR outcome = 'void')
) PARTITION BY RANGE (request_id);
CREATE INDEX charge_org ON charge (org_id, request_id);
CREATE INDEX charge_key ON charge (key_id, request_id);
CREATE INDEX charge_batch ON charge (batch_id);

-- What each key was charged out of each lease, cash and plan together: the projection of its charges, changed in the same
-- transaction. A key's cap is asked of it, because summing all charges of its life takes longer with every one of them.
CREATE TABLE key_spend (
    org_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    epoch INT NOT NULL,
    nano BIGINT NOT NULL CHECK (nano >= 0),
    PRIMARY KEY (org_id, key_id, epoch)
) WITH (fillfactor = 70);

CREATE TABLE anomaly (
    anomaly_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    request_id UUID,
    detail JSONB NOT NULL DEFAULT '{}',
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Routers by their spools. Everything authorized before the watermark (Unix milliseconds) is booked, and will not begin.
CREATE TABLE router (
    spool TEXT PRIMARY KEY,
    instance TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'serving' CHECK (state IN ('serving', 'gone', 'lost')),
    watermark BIGINT NOT NULL,
    unbooked BIGINT NOT NULL DEFAULT 0,
    skew_ms BIGINT NOT NULL DEFAULT 0,
    registered_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    heard_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    run BIGINT NOT NULL DEFAULT 0 -- which process of the spool was heard last
);

-- What could not be charged, word for word, until somebody decides. The same words park once.
CREATE TABLE parked (
    parked_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE CHECK (length(digest) = 32),
    reason TEXT NOT NULL,
    request_id UUID,
    org_id BIGINT,
    lease_epoch INT,
    body BYTEA NOT NULL,
    state TEXT NOT NULL DEFAULT 'parked' CHECK (state IN ('parked', 'replayed', 'void')),
    parked_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    decided_at TIMESTAMPTZ,
    decision TEXT,
    CHECK ((state = 'parked') = (decided_at IS NULL))
);
CREATE INDEX parked_request ON parked (request_id);
CREATE INDEX parked_undecided ON parked (org_id, lease_epoch) WHERE state = 'parked';

-- One account's month, closed: sums, and a digest over its transfers that continues the month before.
CREATE TABLE statement (
    account_id BIGINT NOT NULL REFERENCES account,
    month DATE NOT NULL CHECK (extract(DAY FROM month) = 1),
    opening NUMERIC NOT NULL,
    debits NUMERIC NOT NULL,
    credits NUMERIC NOT NULL,
    closing NUMERIC NOT NULL,
    transfers BIGINT NOT NULL,
    digest BYTEA NOT NULL CHECK (length(digest) = 32),
    made_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, month),
    CHECK (closing = opening + credits - debits)
);
CREATE FUNCTION refuse_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE ON transfer FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transfer_no_truncate BEFORE TRUNCATE ON transfer FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER charge_append_only BEFORE UPDATE OR DELETE ON charge FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER charge_no_truncate BEFORE TRUNCATE ON charge FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER price_version_append_only BEFORE UPDATE OR DELETE ON price_version
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER price_version_no_truncate BEFORE TRUNCATE ON price_version
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER statement_append_only BEFORE UPDATE OR DELETE ON statement
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER statement_no_truncate BEFORE TRUNCATE ON statement FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Makes the partitions of the last two months, this one and the next `ahead`. Owned by the migrating role, so that the
-- service needs no right to create tables.
CREATE FUNCTION ensure_partitions(ahead INT) RETURNS VOID LANGUAGE plpgsql SECURITY DEFINER
SET search_path = billing, pg_temp AS $$
DECLARE
    first_day TIMESTAMPTZ;
    name TEXT;
BEGIN
    FOR step IN -2..ahead LOOP
        first_day := date_trunc('month', now(), 'UTC') + make_interval(months => step);
        name := 'charge_' || to_char(first_day AT TIME ZONE 'UTC', 'YYYY_MM');
        IF to_regclass('billing.' || name) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE billing.%I PARTITION OF billing.charge FOR VALUES FROM (%L) TO (%L)',
                name,
                first_uuid(first_day),
                first_uuid(first_day + INTERVAL '1 month')
            );
        END IF;
    END LOOP;
END $$;

-- The lowest UUIDv7 of an instant.
CREATE FUNCTION first_uuid(at TIMESTAMPTZ) RETURNS UUID LANGUAGE sql IMMUTABLE AS $$
    SELECT rpad(lpad(to_hex((extract(EPOCH FROM at) * 1000)::BIGINT), 12, '0'), 32, '0')::UUID
$$;

REVOKE ALL ON FUNCTION ensure_partitions(INT) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partitions(INT) TO tokenoutput_billing;
GRANT SELECT, INSERT, UPDATE ON account, balance, lease, key_spend, router, parked TO tokenoutput_billing;
GRANT SELECT, INSERT ON transfer, price_version, charge, anomaly, statement TO tokenoutput_billing;
GRANT USAGE ON SEQUENCE batch_id TO tokenoutput_billing;

SELECT ensure_partitions(3);

INSERT INTO account (kind, shard) SELECT 'revenue', shard FROM generate_series(0, 7) AS shard;
INSERT INTO account (kind) VALUES ('overrun_loss'), ('promo_expense');
INSERT INTO balance (account_id) SELECT account_id FROM account;
