"""The switchboard: which offer, which protocol, what was used. Owns no tables."""
