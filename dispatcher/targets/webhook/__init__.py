"""The target kind `webhook`: its config, its request, and its sender."""
