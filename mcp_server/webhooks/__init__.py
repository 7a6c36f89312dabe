"""Providers: how each signs its requests, and what its payloads mean. One module each, and one line in `table`."""
