"""Consent: the words of steps are drafted, and go out once a person has approved them where the campaign asks."""
