"""One run over the invariants: what is expected to fail, its text and JSON, its processes."""
