"""`drafts`: the person at the machine sees what waits, and decides."""

import json
import os
import pty
import subprocess

from db.postgres.database import Database
from tests.support.campaigns import state
from tests.support.command_line import COMMAND, Cli
from tests.support.drafts import asking, message, waiting, write
from tests.support.patience import PATIENCE
from tests.support.steps import claim, run_sql


def answered(cli: Cli, answer: bytes, *arguments: str) -> tuple[int, str]:
    """A command in a terminal, at which somebody types the answer."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, *arguments]
    process = subprocess.Popen(command, env=cli.env, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.close(theirs)
    os.write(ours, answer)
    said, _ = process.communicate(timeout=PATIENCE)
    os.close(ours)
    return process.returncode, said.decode()


def test_what_waits_is_shown_with_its_words_and_approved(cli: Cli, database: Database) -> None:
    campaign_id, (one,) = asking(database)
    assert claim(database, campaign_id) == []
    draft = write(database, one, "Hello Bob\x1b[2J,\nhow are you?")
    listed = cli.run("drafts", "list", "--campaign", str(campaign_id))
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = listed.stdout.splitlines()
    assert lines[0] == f"{draft.id}  waiting, step 1, email to p0@example.com"
    assert lines[1:4] == ["    Subject: One you", "    Hello Bob[2J,", "    how are you?"]
    assert [line.split(":")[0] for line in lines[4:6]] == ["    ! hidden", "    ! name"]
    (shown,) = json.loads(cli.run("drafts", "list", "--json").stdout)["drafts"]
    assert shown["fingerprint"] == draft.fingerprint.hex()
    done = cli.run("drafts", "approve", "--yes", str(draft.id))
    assert (done.returncode, done.stdout) == (0, "1 approved, 0 refused.\n")
    (due,) = claim(database, campaign_id)
    assert message(database, due.enrollment.id)["approved_fingerprint"] == draft.fingerprint
    noted = run_sql(database, "SELECT actor, tool, ids ->> 'draft' FROM audit_log").all()
    assert [tuple(row) for row in noted] == [("local", "approve_drafts", f'["{draft.id}"]')]
    assert cli.run("drafts", "list").stdout == "No drafts.\n"


def test_nothing_is_approved_that_nobody_has_said_yes_to(cli: Cli, database: Database) -> None:
    campaign_id, _ = asking(database)
    claim(database, campaign_id)
    (draft,) = waiting(database)
    silent = cli.run("drafts", "approve", str(draft.id))
    assert silent.returncode == 2
    assert "--yes" in silent.stderr
    assert answered(cli, b"n\n", "drafts", "approve", str(draft.id))[0] == 0
    assert len(waiting(database)) == 1
    code, said = answered(cli, b"y\n", "drafts", "approve", str(draft.id))
    assert code == 0
    assert "The first of all" in said
    assert "1 approved" in said
    assert len(claim(database, campaign_id)) == 1


def test_what_can_not_be_approved_is_told(cli: Cli, database: Database) -> None:
    _, (one,) = asking(database)
    draft = write(database, one)
    write(database, one, "Other words")
    stale = cli.run("drafts", "approve", "--yes", str(draft.id))
    assert (stale.returncode, stale.stdout) == (3, "0 approved, 1 refused.\n")
    assert "The draft is stale" in stale.stderr
    nobody = cli.run("drafts", "approve", "--yes", str(one))
    assert nobody.returncode == 1
    assert "No draft" in nobody.stderr


def test_a_draft_is_rejected_with_a_reason(cli: Cli, database: Database) -> None:
    _, (one, two) = asking(database, people=2)
    drafts = [write(database, id_) for id_ in (one, two)]
    assert cli.run("drafts", "reject", str(drafts[0].id), "--reason", " ").returncode == 2
    paused = cli.run("drafts", "reject", str(drafts[0].id), "--reason", "Too long")
    assert (paused.returncode, paused.stdout) == (0, "The draft is rejected. Its enrollment is paused.\n")
    skipped = cli.run("drafts", "reject", str(drafts[1].id), "--reason", "Too long", "--then", "skip")
    assert skipped.stdout == "The draft is rejected. The step is skipped.\n"
    assert (state(database, one)["status"], state(database, two)["current_step"]) == ("paused", 1)
    again = cli.run("drafts", "reject", str(drafts[0].id), "--reason", "Too long")
    assert again.returncode == 1
    assert "rejected" in again.stderr
