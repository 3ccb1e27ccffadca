"""How events come in: decoding, batches, the RabbitMQ consumer."""
