"""Rows that are read under lock and written back: enrollments, actions, counters and usage."""
