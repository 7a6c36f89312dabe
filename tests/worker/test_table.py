"""Which files an import reads, and how."""

from pathlib import Path

import pytest

from db.domain.errors import InvalidInput
from mcp_server.jobs.csv_rows import parse, read_allowed, read_table


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


def test_quoted_names_between_semicolons_or_tabs_are_understood() -> None:
    for delimiter in ";\t":
        text = f'"Email"{delimiter}"First name"\n"z@example.com"{delimiter}"Zoë, A"\n'
        assert parse(text, {}) == [{"email": "z@example.com", "first_name": "Zoë, A"}]


def test_each_row_knows_the_line_it_starts_on() -> None:
    table = read_table('email,note\r\na@example.com,"one\r\ntwo"\r\n\r\n,\r\nb@example.com\r\n', {})
    assert [record.line for record in table.records] == [2, 6]
    assert table.columns == ["email", "note"]
