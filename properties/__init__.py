"""Checking any batch norm. Nothing is imported here: the plugin loads this in every session."""
