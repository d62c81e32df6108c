"""`scripts/bench`: every figure is a ratio against a baseline that was measured in turns with it, in the same call."""
