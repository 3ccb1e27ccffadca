"""Measurements of the whole service against a floor that is measured in the same run."""
