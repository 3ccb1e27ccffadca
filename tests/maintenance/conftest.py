"""A store, on each database in turn."""

from __future__ import annotations

from tests.delivery.conftest import store, url

__all__ = ["store", "url"]
