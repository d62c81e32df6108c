"""Entries as text that other tools read (`har`), or that brings them back as they were (`lines`)."""
