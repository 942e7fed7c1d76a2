"""The public API: parse, call, answer."""
