"""Mailboxes, and the mail that is read in them."""
