"""The ledger: what was used becomes money, exactly once."""
