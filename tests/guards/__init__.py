"""What `make check` asks of the repository itself, beyond style and types."""
