"""The client for threads and scripts. All but its transport is made by scripts/sync_client.py."""
