"""`campaigns`: where the id comes from that other commands ask for, and who says which steps a person approves."""

import json

from db.domain.events import EventType
from db.postgres.database import Database
from tests.support.campaigns import event, new_scene, record
from tests.support.command_line import Cli
from tests.support.drafts import asking
from tests.support.steps import claim, run_sql


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


def test_the_person_at_the_machine_lets_a_campaign_ask_for_less(cli: Cli, database: Database) -> None:
    campaign_id, _ = asking(database, daily_limit=7)
    assert claim(database, campaign_id) == []
    for then in ("not all as before", "as before"):
        done = cli.run("campaigns", "approval", str(campaign_id), "none")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"The campaign asks for none, {then}.\n", "")
    kept = run_sql(database, "SELECT settings - 'timezone' FROM campaign_instances").scalar_one()
    assert kept == {"approval": "none", "daily_limit": 7}
    assert len(claim(database, campaign_id)) == 1
    noted = run_sql(database, "SELECT actor, tool, ids ->> 'campaign' FROM audit_log").all()
    assert [tuple(row) for row in noted] == [("local", "update_campaign", f'["{campaign_id}"]')] * 2
    nowhere = cli.run("campaigns", "approval", "0199a1b2-0000-7000-8000-000000000009", "all")
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
