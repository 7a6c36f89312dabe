"""The random walk of several clients over all commands, and what must hold after each."""
