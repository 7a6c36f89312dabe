"""What came of the mails of each mailbox, and what start_campaign says of mailboxes that send nothing."""

from datetime import timedelta
from functools import partial

from sqlalchemy import text

from db.domain.mailboxes import MailboxCommand
from db.domain.metrics import COUNTERS, GroupBy
from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import lint
from db.services.mail import mailboxes
from db.services.reports import metrics
from tests.support.campaigns import NOW
from tests.support.outgoing import ANN, BEN, CLEO, connect, running, send_all
from tests.support.steps import claim_at, report_at

DAY = timedelta(days=1)


def test_each_mailbox_has_its_own_numbers(database: Database) -> None:
    ann, ben = connect(database, ANN), connect(database, BEN)
    campaign_id = running(database, ANN, BEN, people=5, linkedin=True)
    assert (send_all(database, ann, NOW), send_all(database, ben, NOW + DAY)) == (6, 4)
    for due in claim_at(database, campaign_id, NOW + DAY).actions:
        report_at(database, due, ActionOutcome.SENT, NOW + DAY)
    with database.transaction("report") as session:
        whole = metrics.report(session, campaign_id=campaign_id, group_by=GroupBy.CHANNEL, since=None, until=None)
        by = metrics.report(session, campaign_id=campaign_id, group_by=GroupBy.MAILBOX, since=None, until=None)
        late = metrics.report(
            session, campaign_id=campaign_id, group_by=GroupBy.MAILBOX, since=(NOW + DAY).date(), until=None
        )
    assert [(group.key, group.totals["sent"]) for group in by.groups] == [(ANN, 6), (BEN, 4)]
    email = next(group for group in whole.groups if group.key == "email")
    assert {name: sum(group.totals[name] for group in by.groups) for name in COUNTERS} == email.totals
    assert [group.key for group in late.groups] == [BEN]


def test_what_was_never_sent_counts_on_the_day_on_which_it_failed(database: Database) -> None:
    connect(database, ANN)
    campaign_id = running(database, ANN, people=2, sent_by="agent")
    one, two = claim_at(database, campaign_id, NOW).actions
    report_at(database, one, ActionOutcome.FAILED, NOW)
    report_at(database, two, ActionOutcome.SENT, NOW)
    found: list[list[tuple[str, int, int]]] = []
    for days in ((None, None), (0, 0), (0, None), (None, 0), (1, None), (None, -1)):
        since, until = (None if day is None else (NOW + day * DAY).date() for day in days)
        look = partial(metrics.report, campaign_id=campaign_id, group_by=GroupBy.MAILBOX, since=since, until=until)
        groups = database.run("report", look, read_only=True).groups
        found.append([(group.key, group.totals["sent"], group.totals["failed"]) for group in groups])
    assert found == [*[[(ANN, 1, 1)]] * 4, [], []]


def test_a_start_warns_of_mailboxes_that_send_nothing(database: Database) -> None:
    ann, ben, _ = connect(database, ANN), connect(database, BEN), connect(database, CLEO)
    campaign_id = running(database, ANN, BEN, CLEO, people=1)
    with database.transaction("start") as session:
        command = MailboxCommand.PAUSE
        mailboxes.command(session, row=mailboxes.find(session, mailbox=ann, is_locked=True), command=command)
        failing = mailboxes.find(session, mailbox=ben, is_locked=True)
        mailboxes.command(session, row=failing, command=MailboxCommand.FAIL, problem="The host refuses.", now=NOW)
        session.execute(text("DELETE FROM mailboxes WHERE address = :address"), {"address": CLEO})
        told = lint.of_mailboxes(session, campaign=campaigns.get(session, campaign_id=campaign_id))
    assert [warning.partition(" ")[0] for warning in told] == [ANN, BEN, CLEO]
    assert ["is paused" in told[0], "The host refuses." in told[1], "not a mailbox any more" in told[2]] == [True] * 3
