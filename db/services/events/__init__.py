"""Events: recorded in batches, placed at steps, kept while their enrollment is unknown, and taken from webhooks."""
