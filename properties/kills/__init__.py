"""Which invariant catches which known bug, and the corpus made from it."""
