"""Answers from one protocol to the other: as a stream of events always, so that plain ones cannot differ. Pure."""
