"""Trade-off: accuracy against detection."""
