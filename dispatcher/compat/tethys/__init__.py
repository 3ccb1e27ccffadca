"""Tethys: its jobs call back here, and its portals are told of events."""
