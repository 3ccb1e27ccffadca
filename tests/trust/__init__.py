"""Who may say what of whom: first comers, forged statuses, grants, and the table of the docs."""
