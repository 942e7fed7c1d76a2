-- Plan and promotional credit is spent before cash, out of an account of its own and a part of the lease of its own.
ALTER TABLE account DROP CONSTRAINT account_kind_check;
ALTER TABLE account ADD CONSTRAINT account_kind_check
CHECK (kind IN ('cust_cash', 'cust_plan', 'revenue', 'overrun_loss', 'promo_expense'));
ALTER TABLE account DROP CONSTRAINT account_check;
ALTER TABLE account ADD CONSTRAINT account_check CHECK ((kind IN ('cust_cash', 'cust_plan')) = (org_id IS NOT NULL));

ALTER TABLE balance ADD COLUMN frozen_for TEXT;

ALTER TABLE lease
ADD COLUMN plan_granted BIGINT NOT NULL DEFAULT 0 CHECK (plan_granted >= 0),
ADD COLUMN plan_consumed BIGINT NOT NULL DEFAULT 0,
ADD COLUMN closed_at TIMESTAMPTZ,
ADD CONSTRAINT lease_plan_check CHECK (plan_consumed >= 0 AND plan_consumed <= plan_granted);
CREATE INDEX lease_in_doubt ON lease (doubt_at) WHERE state = 'doubt';

-- A hold that nobody will ever charge ends as a void charge that no offer served and that has no price.
ALTER TABLE charge ALTER COLUMN price_id DROP NOT NULL;
ALTER TABLE charge ADD CONSTRAINT charge_price_check CHECK (price_id IS NOT NULL OR outcome = 'void');
ALTER TABLE charge ADD COLUMN producer TEXT NOT NULL DEFAULT '';

-- Routers by their spools. Everything authorized before the watermark (Unix milliseconds) is booked, and will not begin.
CREATE TABLE router (
    spool TEXT PRIMARY KEY,
    instance TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'serving' CHECK (state IN ('serving', 'gone', 'lost')),
    watermark BIGINT NOT NULL,
    unbooked BIGINT NOT NULL DEFAULT 0,
    skew_ms BIGINT NOT NULL DEFAULT 0,
    registered_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    heard_at TIMESTAMPTZ NOT NULL DEFAULT now()
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
CREATE TRIGGER statement_append_only BEFORE UPDATE OR DELETE ON statement
FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER statement_no_truncate BEFORE TRUNCATE ON statement FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER price_version_no_truncate BEFORE TRUNCATE ON price_version
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT, UPDATE ON router, parked TO tokenoutput_billing;
GRANT SELECT, INSERT ON statement TO tokenoutput_billing;
