"""Which files an import reads, and how."""

from pathlib import Path

import pytest

from db.domain.errors import InvalidInput
from mcp_server.jobs.table import parse, read_allowed


def test_a_semicolon_and_a_byte_order_mark_are_understood() -> None:
    rows = parse("\ufeffEmail;First Name;Team\nz@example.com;Zoë;A,B\n", {})
    assert rows == [{"email": "z@example.com", "first_name": "Zoë", "attributes": {"Team": "A,B"}}]


def test_a_link_or_a_path_out_of_the_allowed_directory_is_refused(tmp_path: Path) -> None:
    allowed, outside = tmp_path / "in", tmp_path / "out.csv"
    allowed.mkdir()
    outside.write_text("email\n", "utf-8")
    (allowed / "link.csv").symlink_to(outside)
    for path in (allowed / "link.csv", allowed / ".." / "out.csv", outside):
        with pytest.raises(InvalidInput, match="outside"):
            read_allowed(str(path), [allowed])
