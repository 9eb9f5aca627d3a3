"""The textbook batch norm in pieces, its right forms, and the error planted for each invariant."""
