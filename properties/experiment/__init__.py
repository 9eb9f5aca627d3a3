"""What batch norm is for: a deep net trained with it and without, at many weight scales."""
