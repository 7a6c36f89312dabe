"""`campaigns list`: where the id comes from that other commands ask for."""

import json

from db.domain.events import EventType
from db.postgres.database import Database
from tests.support.campaigns import event, new_scene, record
from tests.support.command_line import Cli


def test_campaigns_are_listed_with_the_ids_that_export_takes(cli: Cli, database: Database) -> None:
    older, newer = new_scene(database, 2), new_scene(database, 1, start=False)
    record(database, event(EventType.SENT, older.enrollments[0], step_number=1))
    table = cli.run("campaigns", "list")
    assert (table.returncode, table.stderr) == (0, "")
    heading, *rows = [line.split() for line in table.stdout.splitlines()]
    assert heading == ["Id", "Name", "Status", "Started", "Sent"]
    assert [row[0] for row in rows] == [str(newer.campaign_id), str(older.campaign_id)]
    shown = json.loads(cli.run("campaigns", "list", "--status", "active", "--limit", "1", "--json").stdout)
    assert shown["has_more"] is False
    ((campaign),) = shown["campaigns"]
    assert (campaign["id"], campaign["status"], campaign["sent"]) == (str(older.campaign_id), "active", 1)


def test_without_campaigns_it_says_so(cli: Cli) -> None:
    done = cli.run("campaigns", "list")
    assert (done.returncode, done.stdout, done.stderr) == (0, "No campaigns.\n", "")
