"""The documentation; its tables are written by docs.generate."""
