"""Dispatcher takes job status events and delivers them to the subscriptions that want them."""

__version__ = "0.2.0.dev0"
