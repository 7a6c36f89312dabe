"""Which files an import reads, and which rows and columns it finds in them."""

from pathlib import Path
from typing import Any

import pytest

from db.domain.errors import InvalidInput
from mcp_server.jobs.people_files import Mapping, read_allowed, read_table
from tests.support.people_files import faults, people, person


def test_a_link_or_a_path_out_of_the_allowed_directory_is_refused(tmp_path: Path) -> None:
    allowed, outside = tmp_path / "in", tmp_path / "out.csv"
    allowed.mkdir()
    outside.write_text("email\n", "utf-8")
    (allowed / "link.csv").symlink_to(outside)
    for path in (allowed / "link.csv", allowed / ".." / "out.csv", outside):
        with pytest.raises(InvalidInput, match="outside"):
            read_allowed(str(path), [allowed])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff", "told"])
def test_every_separator_is_understood_quoted_or_not(separator: str, mark: str) -> None:
    start = f"sep={separator}\r\n" if mark == "told" else mark
    text = (
        f'{start}"Email"{separator}First name{separator}Team\r\nz@example.com{separator}"Zoë, A"{separator}"A;B,C"\r\n'
    )
    assert person(text) == {"email": "z@example.com", "first_name": "Zoë, A", "attributes": {"Team": "A;B,C"}}


def test_a_heading_that_holds_commas_does_not_part_a_file_of_semicolons() -> None:
    text = 'Email;First Name;"Revenue (EUR, net, 2026, plan, and more)"\na@example.com;Ada;1,5\n'
    assert person(text)["attributes"] == {"Revenue (EUR, net, 2026, plan, and more)": "1,5"}


def test_a_told_separator_wins_over_a_heading_that_seems_to_be_parted_by_another() -> None:
    assert person("sep=;\nemail;a,b,c,d\nx@example.com;1,2,3,4\n")["attributes"] == {"a,b,c,d": "1,2,3,4"}


def test_notes_above_the_headings_are_passed_over_and_told() -> None:
    notes = 'Notes:\n"When exporting, you may notice that email addresses, or an email, are missing."\n\n'
    table = read_table(notes + "First Name,Email Address\nAda,a@example.com\n")
    assert people(table) == [{"first_name": "Ada", "email": "a@example.com"}]
    assert table.records[0].line == 5
    assert "line 4" in table.report()["notes"][0]


def test_rows_tell_the_separator_where_no_heading_is_known() -> None:
    text = "Kontakt;Betrag, netto, in EUR\na@example.com;1,5\nb@example.com;2\n"
    table = read_table(text, {"email": 1})
    assert [found["attributes"] for found in people(table)] == [
        {"Betrag, netto, in EUR": "1,5"},
        {"Betrag, netto, in EUR": "2"},
    ]


def test_a_word_in_a_row_is_no_line_of_headings() -> None:
    table = read_table("email,channel\na@example.com,email\nb@example.com,email\n")
    assert len(people(table)) == 2


def test_each_row_knows_the_line_it_starts_on() -> None:
    table = read_table('email,note\r\na@example.com,"one\r\ntwo"\r\n\r\n,\r\nb@example.com\r\n')
    assert [record.line for record in table.records] == [2, 6]
    assert table.columns == ["email", "note"]


ROWS = "c@example.com,C\nd@example.com,D\n"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ('b@example.com,"Ex" Ltd\n', "not doubled"),
        ('b@example.com,"Ada \\"Boss\\" Ltd"\n', "not doubled"),
        ('b@example.com,"never closed\n', "not closed"),
        ('b@example.com,"closed by a later quote\nx@example.com,"X"\n', "not doubled"),
        ('b@example.com,"closed at the end of a later cell\nx@example.com,X 12"\n', "not closed"),
        ("b@example.com,B,extra\n", "more cells"),
    ],
)
def test_one_malformed_row_costs_that_row_with_its_line(bad: str, says: str) -> None:
    table = read_table(f"email,company\na@example.com,A\n{bad}{ROWS}")
    assert {"a@example.com", "c@example.com", "d@example.com"} <= {found["email"] for found in people(table)}
    assert [(line, says in reason) for line, reason in faults(table).items()] == [(3, True)]
    assert table.records[1].cells[0] == "b@example.com"


def test_cells_of_several_lines_are_no_malformed_rows() -> None:
    note = "Hello,\n\nplease write to x@example.com, not to me.\nBye"
    table = read_table(f'email,note\na@example.com,"{note}"\nb@example.com,"say ""hi"""\n')
    assert [found["attributes"]["note"] for found in people(table)] == [note, 'say "hi"']
    assert faults(table) == {}


def test_a_huge_cell_costs_the_cell_alone() -> None:
    table = read_table(f"email,note,first_name\na@example.com,{'x' * 200_000},Ada\nb@example.com,short,{'B' * 300}\n")
    assert people(table) == [
        {"email": "a@example.com", "first_name": "Ada"},
        {"email": "b@example.com", "attributes": {"note": "short"}},
    ]
    assert [len(record.warnings) for record in table.records] == [1, 1]


def test_empty_cells_beyond_the_headings_are_left_out_and_told() -> None:
    table = read_table("Email,First Name\na@example.com,Ada,\nb@example.com,Bob,, \n")
    assert faults(table) == {}
    assert "in 2 rows" in table.report()["notes"][0]


def report(text: str, mapping: Mapping | None = None) -> dict[str, Any]:
    return read_table(text, mapping or {}).report()


def test_the_report_says_where_each_column_went() -> None:
    told = report("Ref,E-mail 1 - Value,E-mail 2 - Value,Notes,Notes,\n,a@example.com,,,,\n", {"code": "Ref"})
    assert told == {
        "mapping": {"email": "E-mail 1 - Value"},
        "attributes": ["code", "Notes", "Notes 2", "column 6"],
        "stand_ins": {"email": ["E-mail 2 - Value"]},
    }


@pytest.mark.parametrize("column", ["Contact Mail", "contact_mail", "2", 2])
def test_a_column_is_mapped_by_its_heading_or_its_number(column: str | int) -> None:
    assert (
        person("Name,Contact Mail\nAda Lovelace,a@example.com\n", mapping={"email": column})["email"] == "a@example.com"
    )


def test_a_mapped_column_wins_over_a_heading_which_becomes_an_attribute() -> None:
    text = "Email,Title,Position in 2026,Job Title\na@example.com,Dr.,CTO,CEO\n"
    assert person(text, mapping={"title": "Position in 2026"}) == {
        "email": "a@example.com",
        "title": "CTO",
        "attributes": {"Title": "Dr.", "Job Title": "CEO"},
    }


def test_no_heading_stands_in_for_a_mapped_address() -> None:
    table = read_table("Email,Private\nwork@example.com,\n,a@example.com\n", {"email": "Private"})
    assert [found["email"] for found in people(table)] == ["a@example.com"]


def test_two_columns_alike_are_told_apart_by_their_numbers() -> None:
    text = "Email,Tel,Tel\na@example.com,1,2\n"
    assert person(text, mapping={"mobile": 3})["attributes"] == {"Tel": "1", "mobile": "2"}
    with pytest.raises(InvalidInput, match="mobile=2"):
        read_table(text, {"mobile": "Tel"})


@pytest.mark.parametrize(
    ("text", "mapping", "says"),
    [
        ("email\n", {"email": "Mail"}, "no such column: Mail. The columns are: email"),
        ("Contact\n", {"Contact": "email"}, "from the field to the column"),
        ("Kontakt,Ort\nx,a@example.com\n", {}, 'email="Ort"'),
        ("Kontakt,Lieber\na@example.com,email\nb@example.com,email\n", {}, 'email="Kontakt"'),
        ("a@example.com,Ada\n", {}, "must name the columns"),
        ("", {}, "must name the columns"),
    ],
)
def test_a_file_whose_columns_can_not_be_told_says_what_to_give(text: str, mapping: Mapping, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_table(text, mapping)
    assert says in str(refused.value)


def test_a_file_without_headings_is_read_by_numbers() -> None:
    assert person("Ada;a@example.com\n", mapping={"email": 2, "first_name": 1}) == {
        "email": "a@example.com",
        "first_name": "Ada",
    }
    assert [found["email"] for found in people(read_table("a@example.com\nb@example.com\n"))] == [
        "a@example.com",
        "b@example.com",
    ]


def test_a_cell_may_span_a_thousand_lines_and_one_of_more_costs_its_row() -> None:
    notes = {lines: "\n".join(map(str, range(lines))) for lines in (1_000, 1_001)}
    rows = [f'p{lines}@example.com,"{note}"\n' for lines, note in notes.items()]
    table = read_table("email,note\n" + "".join(rows) + "q@example.com,short\n")
    assert [found["email"] for found in people(table)] == ["p1000@example.com", "q@example.com"]
    assert people(table)[0]["attributes"] == {"note": notes[1_000]}
    told = faults(table)
    assert "not closed within 1,000 lines" in told[1_002]


def test_people_are_found_below_very_many_quotes_that_are_never_closed() -> None:
    table = read_table("email,note\n" + 'x","y""\n' * 5_000 + 'p@example.com,"a\nb"\n')
    assert [found["email"] for found in people(table)] == ["p@example.com"]
    assert len(faults(table)) == 5_000
