"""Adapters to begin with, one for each style; `bncheck new` prints them."""
