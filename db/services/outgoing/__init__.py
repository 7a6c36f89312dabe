"""The mails that this server sends: queued, begun, and what became of each."""
