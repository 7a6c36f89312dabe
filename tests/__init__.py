"""Tests, one folder for each room. They share what is in tests.support, and import no test module."""
