"""Importing and exporting recordings."""
