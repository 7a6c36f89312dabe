"""`import`: what is taken, what is rejected, and how a script knows."""

import csv
import json
import os
import pty
import re
import signal
import subprocess
import threading
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from db.embedded.locks import wait_until
from db.postgres.database import Database
from tests.support.campaigns import new_scene
from tests.support.command_line import COMMAND, Cli
from tests.support.patience import PATIENCE

ODD = (
    '\ufeffMail;"First name";Plan\r\n'
    '"a@example.com";Ä;gold\r\n'
    "bad;B;\r\n"
    '"b@example.com";"two\r\nlines";x\r\n'
    ";;\r\n"
    "c@example.com;C;y;z\r\n"
)


def written(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def contacts(database: Database) -> list[tuple[str, str | None]]:
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT email, first_name FROM contacts ORDER BY email")).all()
    return [(email, name) for email, name in rows]


def test_an_odd_file_is_taken_and_its_bad_rows_are_kept_with_line_and_reason(
    cli: Cli, database: Database, tmp_path: Path
) -> None:
    file, rejected = written(tmp_path / "odd.csv", ODD), tmp_path / "rejected.csv"
    done = cli.run("import", file, "--mapping", "email=Mail", "--errors", rejected)
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == [
        "4 rows: 2 created, 0 updated, 2 invalid",
        "Columns: email=Mail, first_name=First name",
        "Attributes: Plan",
    ]
    assert contacts(database) == [("a@example.com", "Ä"), ("b@example.com", "two lines")]
    with rejected.open(encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines)
    assert header == ["line", "status", "reason", "Mail", "First name", "Plan"]
    assert [(row[0], row[1], row[3]) for row in rows] == [("3", "invalid", "bad"), ("7", "invalid", "c@example.com")]
    assert "more cells" in rows[1][2]
    assert "line 3" in done.stderr
    assert rejected.stat().st_mode & 0o077 == 0


def test_people_are_enrolled_once_however_often_it_is_run(cli: Cli, database: Database, tmp_path: Path) -> None:
    scene = new_scene(database, 0)
    people = "".join(f"p{index}@example.com\n" for index in range(1_201))
    file = written(tmp_path / "people.csv", f"email\n{people}")
    arguments = ("import", file, "--campaign", str(scene.campaign_id), "--json")
    first, again = cli.run(*arguments), cli.run(*arguments)
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert json.loads(first.stdout)["enrolled"] == 1_201
    counts = json.loads(again.stdout)
    assert (counts["enrolled"], counts["already_enrolled"], counts["created"]) == (0, 1_201, 0)
    assert (first.stderr, again.stderr) == ("", "")


def test_each_chunk_is_in_the_audit_log_and_a_dry_run_is_not(cli: Cli, database: Database, tmp_path: Path) -> None:
    scene = new_scene(database, 0)
    file = written(tmp_path / "people.csv", "email\n" + "".join(f"p{index}@example.com\n" for index in range(501)))
    for more in ([], ["--dry-run"]):
        assert cli.run("import", file, "--campaign", str(scene.campaign_id), *more).returncode == 0
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT actor, tool, ids ->> 'campaign' FROM audit_log")).all()
    assert [tuple(row) for row in rows] == [("local", "import", f'["{scene.campaign_id}"]')] * 2


def test_the_suppressed_are_rejected_with_the_reason(cli: Cli, database: Database, tmp_path: Path) -> None:
    scene = new_scene(database, 0)
    with database.transaction("suppress") as session:
        session.execute(
            text("INSERT INTO suppressions (id, email, reason) VALUES (:id, 'no@example.com', 'unsubscribed')"),
            {"id": uuid4()},
        )
    file = written(tmp_path / "people.csv", "email\nyes@example.com\nno@example.com\n")
    done = cli.run("import", file, "--campaign", str(scene.campaign_id))
    assert done.returncode == 3
    assert "1 enrolled, 0 already enrolled, 1 suppressed" in done.stdout
    assert "line 3: suppressed" in done.stderr


def test_an_address_that_was_kept_besides_is_told(cli: Cli, database: Database, tmp_path: Path) -> None:
    scene = new_scene(database, 0)
    rows = [f"a@example.com,https://www.linkedin.com/in/a{number}" for number in range(13)]
    file = written(tmp_path / "people.csv", "\n".join(["email,linkedin_url", *rows, ""]))
    done = cli.run("import", file, "--campaign", str(scene.campaign_id))
    assert done.returncode == 0
    told = "the contact has another linkedin_url: this one was kept besides, and is not written to"
    assert done.stderr.splitlines()[:2] == [f"sales-automation-mcp: line {n}: {told}" for n in (2, 3)]
    assert f"line 12: {told}" not in done.stderr
    assert "... and 2 more of rows that were taken." in done.stderr
    again = cli.run("import", file, "--json")
    assert json.loads(again.stdout)["kept_besides"] == 12
    assert json.loads(again.stdout)["rejected"] == 0


def test_a_dry_run_answers_and_keeps_nothing(cli: Cli, database: Database, tmp_path: Path) -> None:
    scene = new_scene(database, 0)
    file = written(tmp_path / "people.csv", "email\na@example.com\nbad\n")
    done = cli.run("import", file, "--campaign", str(scene.campaign_id), "--dry-run")
    assert done.returncode == 3
    assert done.stdout.startswith("Dry run: nothing was kept.\n2 rows: 1 created, 0 updated, 1 invalid\n")
    assert "1 enrolled" in done.stdout
    assert contacts(database) == []


def test_a_report_says_where_columns_went_and_what_was_left_out(cli: Cli, database: Database) -> None:
    content = (
        "Notes:\n\nE-mail,Name,Time Zone,Status\na@example.com,Ada Lee,Mars,x\nb@example.com,Bo,UTC,unsubscribed\n"
    )
    told = cli.run("import", "-", given=content.encode())
    assert told.returncode == 0
    assert told.stdout.splitlines() == [
        "2 rows: 2 created, 0 updated, 0 invalid",
        "Not to be written to: 1 opted out",
        "Columns: email=E-mail, timezone=Time Zone, full_name=Name",
        "Attributes: Status",
    ]
    for part in ("line 4: timezone: not a time zone", "line 5: ", "The headings are on line 3"):
        assert part in told.stderr
    counts = json.loads(cli.run("import", "-", "--dry-run", "--json", given=content.encode()).stdout)
    assert (counts["updated"], counts["opted_out"], counts["warnings"], counts["rejected"]) == (2, 1, 1, 0)
    assert (counts["attributes"], counts["mapping"]["email"]) == (["Status"], "E-mail")
    with database.transaction("look") as session:
        assert session.execute(text("SELECT email FROM suppressions")).scalars().all() == ["b@example.com"]


def test_a_list_of_suppressions_is_taken_in(cli: Cli, database: Database) -> None:
    arguments = ("import", "-", "--as", "suppressions", "--reason", "unsubscribed")
    dry, done = (cli.run(*arguments, *more, given=b"a@example.com\nb.example\nbad\n") for more in (["--dry-run"], []))
    assert (dry.returncode, done.returncode) == (3, 3)
    assert done.stdout.splitlines()[0] == (
        "3 rows: 2 suppressed, 0 already suppressed, 0 stopped enrollments, 1 invalid"
    )
    assert "line 3: email: not an email address" in done.stderr
    with database.transaction("look") as session:
        found = session.execute(text("SELECT coalesce(email, domain), reason FROM suppressions ORDER BY 1")).all()
    assert [tuple(row) for row in found] == [("a@example.com", "unsubscribed"), ("b.example", "unsubscribed")]


def test_stdin_is_read(cli: Cli, database: Database) -> None:
    done = cli.run("import", "-", given=b"email\na@example.com\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert contacts(database) == [("a@example.com", None)]


def test_an_unknown_campaign_fails_and_takes_nobody_in(cli: Cli, database: Database) -> None:
    done = cli.run("import", "-", "--campaign", str(uuid4()), given=b"email\na@example.com\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No campaign" in done.stderr
    assert contacts(database) == []


def test_a_read_only_installation_takes_nobody_in(cli: Cli, database: Database) -> None:
    done = cli.run("import", "-", given=b"email\na@example.com\n", SALES_AUTOMATION_READ_ONLY="true")
    assert (done.returncode, done.stdout) == (1, "")
    assert contacts(database) == []


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        (b"", (), "name the columns"),
        (b"\n\n", (), "name the columns"),
        (b"PK\x03\x04", (), "workbook"),
        (b"Mail,Mail\n", ("--mapping", "email=Mail"), "email=1"),
        (b"email\n", ("--mapping", "email=Mail"), "no such column"),
        (b"email,mail\n", ("--mapping", "email=1", "--mapping", "email=2"), "has a column already"),
        (b"Kontakt,Name\na@example.com,A\n", (), 'such as email="Kontakt"'),
        (b"email\n", ("--suppress-where", "Status=gone"), "no column is called Status"),
        (b"email\n", ("--mapping", "email"), "FIELD=COLUMN"),
        (b"email\n", ("--campaign", "spring"), "valid UUID"),
    ],
)
def test_what_can_not_be_used_is_named_before_anything_is_done(
    offline: Cli, content: bytes, more: tuple[str, ...], said: str
) -> None:
    done = offline.run("import", "-", *more, given=content)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_missing_file_and_an_error_file_over_the_input_are_refused(offline: Cli, tmp_path: Path) -> None:
    assert offline.run("import", tmp_path / "none.csv").returncode == 2
    file = written(tmp_path / "people.csv", "email\na@example.com\n")
    assert offline.run("import", file, "--errors", file).returncode == 2
    assert file.read_text() == "email\na@example.com\n"


def test_a_database_that_is_not_there_is_a_failure(offline: Cli) -> None:
    done = offline.run("import", "-", given=b"email\na@example.com\n", SALES_AUTOMATION_START_ATTEMPTS="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "a-secret-password" not in done.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_import_tells_how_far_it_came(
    cli: Cli, database: Database, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    people = "".join(f"p{number}@example.com\n" for number in range(40_000))
    file = written(tmp_path / "people.csv", f"email\n{people}")
    process = subprocess.Popen([*COMMAND, "import", file], env=cli.env, stderr=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: bool(contacts(database)), PATIENCE)
        process.send_signal(sent)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == code
    told = re.fullmatch(
        r"sales-automation-mcp: at least ([\d,]+) of 40,000 rows were done\. Repeat it: they are not doubled\.\n", said
    )
    assert told, said
    done, kept = int(told[1].replace(",", "")), len(contacts(database))
    assert done % 500 == kept % 500 == 0
    assert done <= kept <= done + 500


def test_a_terminal_sees_the_progress_and_stdout_does_not(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path / "people.csv", "email\na@example.com\n")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "import", str(file)], stdout=subprocess.PIPE, stderr=theirs, env={**cli.env, "TERM": "xterm"}
    )
    os.close(theirs)
    seen: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(ours, seen))
    reader.start()
    said, _ = process.communicate(timeout=PATIENCE)
    reader.join(PATIENCE)
    os.close(ours)
    assert process.returncode == 0
    assert said.splitlines()[0] == b"1 rows: 1 created, 0 updated, 0 invalid"
    assert b"1/1" in b"".join(seen)


def _read_all(descriptor: int, seen: list[bytes]) -> None:
    while True:
        try:
            chunk = os.read(descriptor, 65_536)
        except OSError:  # how Linux says that the other side is closed
            return
        if not chunk:
            return
        seen.append(chunk)
