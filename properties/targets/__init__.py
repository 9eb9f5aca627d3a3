"""From the spec of a target to what it offers: loading, adapters, isolation, probing."""
