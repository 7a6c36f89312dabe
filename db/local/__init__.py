"""Jobs and cache of one machine, on SQLite."""
