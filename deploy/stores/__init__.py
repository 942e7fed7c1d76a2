"""Who may do what in Redis and RabbitMQ, said once for the local stack, for Compose, for tests and for operators."""
