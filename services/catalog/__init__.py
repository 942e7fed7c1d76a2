"""The shelf: what is sold, by whom, at what price."""
