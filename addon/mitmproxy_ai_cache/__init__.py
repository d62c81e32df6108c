"""A mitmproxy addon that caches, records and replays LLM API traffic."""

__version__ = "0.1.0"
