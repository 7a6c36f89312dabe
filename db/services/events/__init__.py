"""What happened: recorded in batches, placed at steps, kept while nobody is known for it, and brought by webhooks."""
