"""Where events, deliveries, jobs, subscriptions and keys are kept: SQLite or PostgreSQL."""
