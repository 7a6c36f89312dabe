"""Reads that change nothing: metrics, the overview of all campaigns, and type-ahead."""
