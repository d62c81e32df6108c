"""The way of a call, without mitmproxy: policy, look-up, single flight, the gate, storing, replaying, refusing."""
