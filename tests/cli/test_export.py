"""`export`: everything once, harmless in a spreadsheet, exact as JSON."""

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from db.domain.events import EventType
from db.postgres.database import Database
from db.services.dispatch import claims
from mcp_server.cli.sheets import CsvSheet, neutral
from tests.support.campaigns import NOW, event, new_scene, record
from tests.support.command_line import COMMAND, Cli
from tests.support.patience import PATIENCE

HOSTILE = '=HYPERLINK("http://example.com","x")'
PEOPLE = 1_100


@pytest.fixture
def campaign_id(database: Database) -> UUID:
    """A campaign of many, one of them with a hostile name, and two events."""
    scene = new_scene(database, PEOPLE)
    record(
        database,
        event(EventType.SENT, scene.enrollments[0], step_number=1, metadata={"note": "=1+1"}),
        event(EventType.OPENED, scene.enrollments[0], hours=1, step_number=1),
    )
    with database.transaction("name") as session:
        session.execute(
            text("""
                UPDATE contacts SET first_name = :name, last_name = 'Ä, "B"', attributes = '{"a": [1, null]}'
                WHERE email = 'p0@example.com'
            """),
            {"name": HOSTILE},
        )
    return scene.campaign_id


def test_every_enrollment_stands_in_the_csv_once_and_no_text_is_a_formula(cli: Cli, campaign_id: UUID) -> None:
    done = cli.run("export", "--campaign", str(campaign_id))
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert {row["email"] for row in rows} == {f"p{index}@example.com" for index in range(PEOPLE)}
    assert len(rows) == PEOPLE
    hostile = next(row for row in rows if row["email"] == "p0@example.com")
    assert hostile["first_name"] == f"'{HOSTILE}"
    assert hostile["last_name"] == 'Ä, "B"'
    assert json.loads(hostile["attributes"]) == {"a": [1, None]}
    assert hostile["stop_reason"] == ""


def test_json_lines_are_exact(cli: Cli, campaign_id: UUID) -> None:
    done = cli.run("export", "--campaign", str(campaign_id), "--format", "jsonl")
    rows = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(rows) == PEOPLE
    hostile = next(row for row in rows if row["email"] == "p0@example.com")
    assert (hostile["first_name"], hostile["attributes"]) == (HOSTILE, {"a": [1, None]})
    assert hostile["stop_reason"] is None
    assert hostile["campaign_id"] == str(campaign_id)


def test_events_are_exported_with_what_the_provider_said(cli: Cli, campaign_id: UUID) -> None:
    done = cli.run("export", "--campaign", str(campaign_id), "--what", "events", "--format", "jsonl")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(row["event_type"] for row in rows) == ["opened", "sent"]
    assert {"note": "=1+1"} in [row["metadata"] for row in rows]
    table = cli.run("export", "--campaign", str(campaign_id), "--what", "events")
    cells = list(csv.DictReader(io.StringIO(table.stdout)))
    assert sorted(row["event_type"] for row in cells) == ["opened", "sent"]
    assert {row["email"] for row in (*rows, *cells)} == {"p0@example.com"}
    assert [row["first_name"] for row in (*rows, *cells)] == [HOSTILE, HOSTILE, f"'{HOSTILE}", f"'{HOSTILE}"]
    assert {row["last_name"] for row in cells} == {'Ä, "B"'}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_the_rows_are_counted_on_a_terminal(cli: Cli, campaign_id: UUID, tmp_path: Path) -> None:
    terminal, theirs = os.openpty()
    command = [*COMMAND, "export", "--campaign", str(campaign_id), "--output", str(tmp_path / "out.csv")]
    env = {name: value for name, value in cli.env.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    done = subprocess.run(command, stdout=theirs, stderr=theirs, env=env, timeout=PATIENCE, check=False)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # the end of what was said, where nobody holds the other side
        while more := os.read(terminal, 65_536):
            said += more
    os.close(terminal)
    assert done.returncode == 0
    assert "1,100 enrollments" in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())


def test_what_was_written_is_exported_as_it_was_handed_out(cli: Cli, campaign_id: UUID, database: Database) -> None:
    claim = partial(claims.claim, campaign_id=campaign_id, channel=None, limit=2, lease_seconds=60, now=NOW)
    handed = database.run("claim", claim).actions
    done = cli.run("export", "--campaign", str(campaign_id), "--what", "messages", "--format", "jsonl")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(row["sent_to"], row["subject"], row["body"]) for row in rows} == {
        (due.contact.email, due.text.subject, "The first of all") for due in handed
    }
    assert {row["internet_message_id"] for row in rows} == {due.text.internet_message_id for due in handed}
    assert len(rows) == 2  # and not the third, which an event tells of


def test_a_file_is_replaced_whole_and_private(cli: Cli, campaign_id: UUID, tmp_path: Path) -> None:
    target, folder = tmp_path / "out.csv", sorted(tmp_path.iterdir())
    done = cli.run("export", "--campaign", str(campaign_id), "--output", target)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(target.read_text("utf-8").splitlines()) == PEOPLE + 1
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    before = target.read_bytes()
    assert cli.run("export", "--campaign", str(uuid4()), "--output", target).returncode == 1
    assert target.read_bytes() == before
    assert set(tmp_path.iterdir()) - set(folder) <= {target, tmp_path / "home"}


def test_a_device_is_written_to_and_stays(cli: Cli, campaign_id: UUID, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = tmp_path / "received.csv"
    with received.open("wb") as file:
        reader = subprocess.Popen(["cat", str(pipe)], stdout=file)
    done = cli.run("export", "--campaign", str(campaign_id), "--output", pipe)
    assert reader.wait(PATIENCE) == 0
    assert done.returncode == 0, done.stderr
    assert len(received.read_text("utf-8").splitlines()) == PEOPLE + 1
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_one_that_is_terminated_says_so(cli: Cli, campaign_id: UUID, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [*COMMAND, "export", "--campaign", str(campaign_id), "--output", str(pipe)], stderr=subprocess.PIPE, env=cli.env
    )
    with pipe.open("rb") as reader:
        assert reader.read(1)  # it writes, and stops when the pipe is full
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert process.communicate()[1] == b""


def test_an_unknown_campaign_is_a_failure_with_nothing_on_stdout(cli: Cli, tmp_path: Path) -> None:
    done = cli.run("export", "--campaign", str(uuid4()))
    assert (done.returncode, done.stdout) == (1, "")
    assert "No campaign" in done.stderr
    assert "`sales-automation-mcp campaigns list` shows those that exist" in done.stderr
    nowhere = cli.run("export", "--campaign", "x")
    assert (nowhere.returncode, nowhere.stdout) == (2, "")


def test_a_place_that_can_not_be_written_is_a_failure(cli: Cli, campaign_id: UUID, tmp_path: Path) -> None:
    done = cli.run("export", "--campaign", str(campaign_id), "--output", tmp_path / "none" / "out.csv")
    assert done.returncode == 1
    assert "can't be written: " in done.stderr
    assert "--output" in done.stderr


def test_a_reader_that_leaves_ends_it_quietly(cli: Cli, campaign_id: UUID) -> None:
    process = subprocess.Popen(
        [*COMMAND, "export", "--campaign", str(campaign_id)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cli.env,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(PATIENCE) == 1
    assert said == b""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_what_starts_a_formula_gets_an_apostrophe(start: str) -> None:
    assert neutral(f"{start}1") == f"'{start}1"
    assert neutral(f"1{start}1") == f"1{start}1"


@pytest.mark.parametrize("separator", [",", ";", "|", "\t", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d"])
def test_a_formula_after_a_separator_gets_an_apostrophe(separator: str, sign: str) -> None:
    assert neutral(f"Acme{separator}{sign}1+1{separator}x") == f"Acme{separator}'{sign}1+1{separator}x"
    assert neutral(f'Acme{separator} "{sign}1"') == f'Acme{separator}\' "{sign}1"'
    assert neutral(f"Acme{separator}1{sign}1") == f"Acme{separator}1{sign}1"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("text", ["Acme;=1+1;x", "a|=1", "a\t@b", "a\n=1", '"; "=1', "a; =1", "=1;+2\n-3"])
def test_no_spreadsheet_finds_a_formula_whatever_separates_its_cells(separator: str, text: str) -> None:
    file = io.BytesIO()
    CsvSheet(file, ["name", "attributes", "numbers"]).write(
        [{"name": text, "attributes": {"note": text}, "numbers": [1, -5]}]
    )
    written = file.getvalue().decode()
    cells = [cell for row in csv.reader(io.StringIO(written, newline=""), delimiter=separator) for cell in row]
    assert [cell for cell in cells if cell.strip(' "').startswith(("=", "+", "@"))] == []
    (row,) = csv.DictReader(io.StringIO(written, newline=""))
    assert json.loads(row["attributes"]) == {"note": text}
    assert json.loads(row["numbers"]) == [1, -5]
