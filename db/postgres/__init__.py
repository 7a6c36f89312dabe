"""PostgreSQL: engine, pool, transactions, start, and the watch on slow statements."""
