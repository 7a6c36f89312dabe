"""What becomes of the cells of a row: addresses, names, zones, letters."""

import pytest

from db.domain.errors import InvalidInput
from mcp_server.jobs.people_files import read_table
from tests.support.people_files import faults, people, person


@pytest.mark.parametrize(
    ("cell", "email", "warns"),
    [
        ("Ada Lovelace <a@example.com>", "a@example.com", False),
        ("<a@example.com>", "a@example.com", False),
        ("mailto:a@example.com", "a@example.com", False),
        ("a@example.com.", "a@example.com", False),
        ("a@example.com; b@example.com", "a@example.com", True),
        ("a@example.com,b@example.com", "a@example.com", True),
        ("a@example.com ::: b@example.com", "a@example.com", True),
        ("a@example.com\nb@example.com", "a@example.com", True),
        ("a@example.com b@example.com", "a@example.com", True),
        ("A <a@example.com>, B <b@example.com>", "a@example.com", True),
        ("a@example.com <a@example.com>", "a@example.com", False),
        ("bad@, b@example.com", "b@example.com", False),
        ("'a@example.com'", "a@example.com", False),
        ("a@example.com;", "a@example.com", False),
    ],
)
def test_an_address_is_read_however_it_is_written_and_the_first_of_several(cell: str, email: str, warns: bool) -> None:
    table = read_table(f'Email,Plan\n"{cell}",gold\n')
    assert people(table)[0]["email"] == email
    assert bool(table.records[0].warnings) == warns


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("timezone", "Mars Standard Time"),
        ("linkedin_url", "https://www.linkedin.com/company/example"),
        ("linkedin_url", "see her page"),
        ("first_name", "x" * 201),
        ("company", "x" * 301),
    ],
)
def test_a_cell_that_its_field_does_not_take_costs_the_cell_with_a_warning(column: str, cell: str) -> None:
    table = read_table(f"email,{column}\na@example.com,{cell}\n")
    (found,) = people(table)
    assert column not in found
    assert table.records[0].warnings[0].startswith(f"{column}: ")


def test_a_name_in_quotes_before_an_address_is_no_malformed_row() -> None:
    table = read_table('Email,Plan\n"Ada Lee" <a@example.com>,gold\n="b@example.com",="0012"\n')
    assert [found["email"] for found in people(table)] == ["a@example.com", "b@example.com"]
    assert people(table)[0]["first_name"] == "Ada"
    assert people(table)[1]["attributes"] == {"Plan": "0012"}


def test_the_reading_of_a_large_file_is_told() -> None:
    told: list[int] = []
    read_table("email\n" + "a@example.com\n" * 4_100, on_rows=told.append)
    assert told == [2_000, 4_000]


def test_headings_that_stand_there_again_are_no_row() -> None:
    assert faults(read_table("email,plan\na@example.com,x\nemail,plan\nb@example.com,y\n")) == {}


PROFILE = "https://www.linkedin.com/in/ada-l"


def test_a_bad_email_costs_the_cell_where_a_profile_is_known() -> None:
    table = read_table(f"email,linkedin_url\nnot one,{PROFILE}\nneither,nor\n")
    assert people(table) == [{"linkedin_url": PROFILE, "attributes": {"email": "not one"}}]
    assert "email: not an email address" in faults(table)[3]


@pytest.mark.parametrize("nothing", ["N/A", "#N/A", "null", "-", "NaN", "[not provided]", "\\N"])
def test_what_programs_write_for_nothing_is_nothing(nothing: str) -> None:
    row = ",".join([nothing] * 4)
    table = read_table(f"email,linkedin_url,first_name,timezone,company\na@example.com,{row}\n")
    assert people(table) == [{"email": "a@example.com"}]
    assert table.records[0].warnings == ()


@pytest.mark.parametrize(
    ("said", "zone"),
    [
        ("america_slash_new_york", "America/New_York"),
        ("america_slash_argentina_slash_buenos_aires", "America/Argentina/Buenos_Aires"),
        ("Eastern Standard Time", "America/New_York"),
        ("Eastern Daylight Time", "America/New_York"),
        ("(GMT-05:00) Eastern Time (US & Canada)", "America/New_York"),
        ("(GMT-08:00) Pacific Standard Time (America/Los_Angeles)", "America/Los_Angeles"),
        ("(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna", "Europe/Amsterdam"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("Mitteleuropäische Zeit", "Europe/Berlin"),
        ("heure normale d\u2019Europe centrale", "Europe/Berlin"),
        ("AUS Eastern Standard Time", "Australia/Sydney"),
        ("PST", "America/Los_Angeles"),
        ("EST", "America/New_York"),
        ("europe/berlin", "Europe/Berlin"),
        ("America/New York", "America/New_York"),
        ("London", "Europe/London"),
        ("GMT+9", "Etc/GMT-9"),
        ("UTC-03:30", "America/St_Johns"),
        ("+0530", "Asia/Kolkata"),
        ("UTC", "UTC"),
    ],
)
def test_a_zone_is_read_in_the_words_of_programs(said: str, zone: str) -> None:
    assert person(f'email,Time Zone\na@example.com,"{said}"\n')["timezone"] == zone


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8", "Zoë"),
        ("utf-8-sig", "Zoë"),
        ("utf-16", "Zoë"),
        ("utf-16-le", "Zoë"),
        ("utf-32", "Zoë"),
        ("cp1252", "10 \u2013 20 Zoë"),
        ("cp1252", "Jürgen Müßig"),
        ("mac_roman", "François Lefèvre"),
        ("cp850", "Jürgen Müller"),
        ("cp1250", "Łukasz Żółć"),
        ("cp1251", "Иван Петров"),
    ],
)
def test_letters_are_right_in_whatever_encoding_a_program_writes(encoding: str, names: str) -> None:
    table = read_table(f"Email;First Name;City\r\na@example.com;{names};{names}\r\n".encode(encoding))
    assert people(table)[0]["first_name"] == names


def test_a_line_in_another_encoding_than_the_rest_is_read_and_told() -> None:
    table = read_table(
        "email,first_name\na@example.com,Zoë\nb@example.com,Zoë\n".encode() + "c@example.com,Zoë\n".encode("cp1252")
    )
    assert [found["first_name"] for found in people(table)] == ["Zoë"] * 3
    assert "line 4" in table.report()["notes"][0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04rest of a workbook", "workbook"),
        ("email,first_name\na@example.com,王小明\n".encode("gb18030"), "name its encoding"),
        (b"\xff\xfee\x00m\x00a", "utf-16"),
    ],
)
def test_what_can_not_be_read_is_refused_with_what_to_do(content: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match="CSV UTF-8") as refused:
        read_table(content)
    assert says in str(refused.value)


def test_an_encoding_that_is_named_is_believed() -> None:
    table = read_table("email,first_name\na@example.com,王小明\n".encode("gb18030"), encoding="GB18030")
    assert people(table)[0]["first_name"] == "王小明"
    with pytest.raises(InvalidInput, match="cp1252"):
        read_table(b"email\n", encoding="idna")
