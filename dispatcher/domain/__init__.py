"""What the words mean: events, jobs, subscriptions, deliveries and the rules that bind them. Pure."""
