"""PostgreSQL: engine, pool, transactions, start, and the log of slow statements."""
