"""Tests, one folder for each room. They share what is in tests.support, and import no test module."""

import pytest

# Before any of them is imported: a helper that fails then tells as much as a test.
pytest.register_assert_rewrite("tests.support")
