"""Contacts, their addresses, suppressions and opt-outs."""
