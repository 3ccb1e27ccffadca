"""Which subscriptions want an event."""
