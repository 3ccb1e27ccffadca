"""Tethys: its jobs call back here, and its portals are notified of events."""
