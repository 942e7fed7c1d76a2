-- What the offer's endpoint takes and wants. A release that does not know it yet writes offers without it.
ALTER TABLE offer ADD profile JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(profile) = 'object');
