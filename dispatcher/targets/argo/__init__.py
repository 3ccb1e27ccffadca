"""The target kind `argo`: its config, its sender, selectors and what a workflow says."""
