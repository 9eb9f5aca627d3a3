"""The search for the largest error a batch norm makes, and where it begins to be too large."""
