"""Decoding, batching and consuming."""
