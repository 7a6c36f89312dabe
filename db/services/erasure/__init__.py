"""Erasure: the personal data of one person is removed from every table."""
