-- What a key may spend in its life, nano-USD. NULL is no limit.
ALTER TABLE api_key ADD COLUMN cap_nano BIGINT CHECK (cap_nano > 0);
