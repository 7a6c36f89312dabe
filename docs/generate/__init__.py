"""Writes the generated regions of docs/ again: `python -m docs.generate`."""
