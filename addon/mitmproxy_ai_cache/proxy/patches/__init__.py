"""Monkey patches to mitmproxy."""
