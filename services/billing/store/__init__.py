"""Billing's SQL, one function per question: the only place of the service that knows PostgreSQL."""
