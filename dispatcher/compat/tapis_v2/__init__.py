"""Tapis v2 (Agave): its notifications and the polling of its jobs, on top of the native API's own functions."""
