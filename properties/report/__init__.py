"""How implementations compare: the report over all targets, the diff of two results, findings."""
