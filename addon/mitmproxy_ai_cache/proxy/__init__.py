"""mitmproxy and its flows: between its hooks and the way of a call."""
