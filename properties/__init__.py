"""Checking any batch norm. Nothing is imported here: a pytest plugin loads this in every session."""
