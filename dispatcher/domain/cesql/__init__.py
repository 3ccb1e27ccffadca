"""CESQL: the expressions of the CloudEvents SQL Expression Language 1.0, parsed and evaluated at a bounded cost."""
