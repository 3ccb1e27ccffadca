"""The client for asyncio. `dispatcher/client/sync` is made from it by scripts/sync_client.py."""
