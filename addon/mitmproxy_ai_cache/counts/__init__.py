"""What happened: counts, savings, prices, metrics, log lines."""
