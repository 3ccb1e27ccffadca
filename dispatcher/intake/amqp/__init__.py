"""Events from RabbitMQ: the connection, its frames, deliveries, acknowledgements and dead letters."""
