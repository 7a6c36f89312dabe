"""Writes the generated regions of docs/ anew: `python -m docs.generate`."""
