"""The derivation of batch norm and what it is computed in: rationals, double-double, radii."""
