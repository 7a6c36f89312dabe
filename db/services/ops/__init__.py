"""What concerns the system and not a campaign: audit log, idempotency keys, tokens, tickets and health."""
