"""How deliveries go out: lanes per destination, retries from the store, outcomes in batches."""
