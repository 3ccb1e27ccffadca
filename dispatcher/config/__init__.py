"""Settings of the service: what there is, where each comes from, and the keys for secrets."""
