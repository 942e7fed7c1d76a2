-- Which process of a spool was heard last: a goodbye of an earlier one comes too late to count.
ALTER TABLE router ADD COLUMN run BIGINT NOT NULL DEFAULT 0;
