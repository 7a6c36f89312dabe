"""Enrollments: people are enrolled, paused, resumed, advanced by hand, and listed."""
