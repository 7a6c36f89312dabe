"""Rules, with the standard library alone: states, events, windows, metrics and errors."""
