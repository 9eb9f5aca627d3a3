"""Figures that take too long for a test: each module prints a table."""
