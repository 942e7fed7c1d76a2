-- What each key was charged out of each lease, cash and plan together: the projection of its charges, changed in the same
-- transaction. A key's cap is asked of it, because summing all charges of its life takes longer with every one of them.
CREATE TABLE key_spend (
    org_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    epoch INT NOT NULL,
    nano BIGINT NOT NULL CHECK (nano >= 0),
    PRIMARY KEY (org_id, key_id, epoch)
) WITH (fillfactor = 70);

-- Nothing is charged between what is summed here and the end of this migration.
LOCK TABLE charge IN SHARE MODE;
INSERT INTO key_spend (org_id, key_id, epoch, nano)
SELECT org_id, key_id, lease_epoch, sum(cash + plan) FROM charge
GROUP BY org_id, key_id, lease_epoch HAVING sum(cash + plan) > 0;

GRANT SELECT, INSERT, UPDATE ON key_spend TO tokenoutput_billing;
