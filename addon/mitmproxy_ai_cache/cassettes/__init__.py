"""Cassettes: recorded exchanges as files that are reviewed in a pull request. Values and text only; no disk here."""
