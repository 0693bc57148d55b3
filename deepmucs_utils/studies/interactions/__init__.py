"""Level and power of the interaction test."""
