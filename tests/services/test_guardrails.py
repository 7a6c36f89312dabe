"""Guardrails: what comes back, and who complains, pauses a campaign or a mailbox before more is sent."""

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.errors import Refused
from db.domain.events import EventType
from db.domain.guardrails import Counted, Guardrails, of_campaign
from db.domain.holds import HoldReason
from db.domain.mailboxes import MailboxStatus
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import claims, explain
from db.services.events import events, withdrawal
from db.services.mail import guardrails, mailboxes
from db.services.mail.mailboxes import MailboxChange
from db.services.ops import audit, settings
from db.services.state import harm
from db.services.state.harm import Harmed
from tests.support.campaigns import NOW, enroll, event, record
from tests.support.outgoing import ANN, BEN, SMTP, connect, running

DAY = timedelta(days=1)
SENT = text("""
    INSERT INTO campaign_actions (instance_id, id, enrollment_id, step_number, channel, status, sender, sent_at,
                                  delivered_at, bounced_at, complained_at)
    SELECT instance_id, gen_random_uuid(), id, CAST(:first AS int) + n, 'email', 'sent', :sender, :at, :at,
           CASE WHEN n <= :bounced THEN CAST(:came AS timestamptz) END,
           CASE WHEN n <= :complained THEN CAST(:came AS timestamptz) END
    FROM campaign_enrollments, generate_series(1, :sent) AS n WHERE id = :enrollment
""")


def mails(
    database: Database,
    enrollment: UUID,
    *,
    sent: int,
    bounced: int = 0,
    complained: int = 0,
    sender: str | None = ANN,
    at: datetime = NOW,
    came: datetime | None = None,
    first: int = 10,
) -> None:
    """Mails that were sent, the first of which came back or were complained of at `came`."""
    values = {"sent": sent, "bounced": bounced, "complained": complained, "sender": sender, "first": first}
    values |= {"at": at, "came": came or at, "enrollment": enrollment}
    database.run("mails", lambda session: session.execute(SENT, values))


def check(database: Database, campaign_id: UUID, now: datetime = NOW + timedelta(hours=1)) -> int:
    harmed = [Harmed(campaign_id, ANN), Harmed(campaign_id, None)]
    return database.run("check", partial(guardrails.check, harmed=harmed, now=now))


def scene(database: Database) -> tuple[UUID, UUID, UUID]:
    """A campaign that two mailboxes send for, one of its enrollments, and the first mailbox."""
    ann, _ = connect(database, ANN), connect(database, BEN)
    campaign_id = running(database, ANN, BEN, people=1, sent_by="agent")
    return campaign_id, enroll(database, campaign_id, ["someone@example.com"])[0], ann


def states(database: Database, campaign_id: UUID, mailbox_id: UUID) -> tuple[str, str]:
    with database.transaction("look") as session:
        campaign = campaigns.get(session, campaign_id=campaign_id)
        return campaign.status, mailboxes.find(session, mailbox=mailbox_id).status


@pytest.mark.parametrize(
    ("sent", "bounced", "complained", "breaks"),
    [
        (49, 9, 0, False),
        (50, 3, 0, True),
        (50, 2, 0, False),
        (140, 7, 0, True),
        (141, 7, 0, False),
        (499, 0, 2, False),
        (500, 0, 2, True),
        (2_000, 0, 2, True),
        (2_001, 0, 2, False),
        (500, 0, 1, False),
        (0, 5, 5, False),
    ],
)
def test_a_share_says_something_of_enough_mails(sent: int, bounced: int, complained: int, breaks: bool) -> None:
    counted = Counted(sent, bounced, complained)
    reason = of_campaign(counted, Guardrails(), since=NOW)
    assert (reason is not None) is breaks
    assert of_campaign(counted, Guardrails(0, 0), since=NOW) is None
    assert reason is None or f"{max(bounced, complained):,} of {sent:,} mails" in reason


def test_returned_mail_pauses_the_campaign_and_the_mailbox_and_says_so(database: Database) -> None:
    campaign_id, enrollment, ann = scene(database)
    mails(database, enrollment, sent=59, bounced=2)
    assert check(database, campaign_id) == 0
    mails(database, enrollment, sent=1, bounced=1, first=100)
    assert (check(database, campaign_id), check(database, campaign_id)) == (2, 0)
    assert states(database, campaign_id, ann) == ("paused", "paused")
    with database.transaction("look") as session:
        reason = campaigns.get(session, campaign_id=campaign_id).pause_reason or ""
        assert "3 of 60 mails came back" in reason
        assert "start_campaign" in reason
        explained = explain.campaign(session, campaign_id=campaign_id, now=NOW)
        assert [hold.detail for hold in explained.holds if hold.reason is HoldReason.GUARDRAIL] == [reason]
        with pytest.raises(Refused, match="3 of 60 mails came back"):
            claims.claim(session, campaign_id=campaign_id, channel=None, limit=1, lease_seconds=60, now=NOW)
        rows = audit.list_(session, since=None, until=None, tool=None, actor="server", limit=9, cursor=None).rows
        assert {(row.tool, *next(iter(row.ids.values()))) for row in rows} == {
            ("pause_campaign", str(campaign_id)),
            ("update_mailbox", str(ann)),
        }
        campaigns.start(session, campaign_id=campaign_id, now=NOW + DAY)
        explained = explain.enrollment(session, enrollment_id=enrollment, now=NOW + DAY)
        assert explained.is_due, "the other mailbox goes on"


def test_a_mailbox_that_a_guardrail_paused_holds_its_people(database: Database) -> None:
    ann = connect(database, ANN)
    campaign_id = running(database, ANN, people=1, sent_by="agent")
    (enrollment,) = enroll(database, campaign_id, ["someone@example.com"])
    mails(database, enrollment, sent=50, bounced=3)
    check(database, campaign_id)
    with database.transaction("look") as session:
        campaigns.start(session, campaign_id=campaign_id, now=NOW + DAY)
        found = explain.enrollment(session, enrollment_id=enrollment, now=NOW + DAY).holds
        told = [hold.detail for hold in found if hold.reason is HoldReason.GUARDRAIL]
        assert "update_mailbox with status active" in told[0]
        claim = claims.claim(session, campaign_id=campaign_id, channel=None, limit=9, lease_seconds=60, now=NOW + DAY)
        assert claim.actions == []
        mailboxes.update(session, mailbox=ann, change=MailboxChange(imap=SMTP), is_paused=True, now=NOW + DAY)
        assert [row.id for row in mailboxes.list_read(session)] == [ann], "answers still come in"
        assert mailboxes.find(session, mailbox=ann).problem == told[0], "a pause by hand leaves the reason"
        row = mailboxes.update(session, mailbox=ann, change=MailboxChange(), is_paused=False, now=NOW + DAY)
        assert (row.status, row.problem, row.guarded_since) == (MailboxStatus.ACTIVE, None, NOW + DAY)


def test_whoever_resumes_begins_to_count_anew(database: Database) -> None:
    campaign_id, enrollment, ann = scene(database)
    mails(database, enrollment, sent=60, bounced=9)
    check(database, campaign_id)
    resumed = NOW + DAY
    with database.transaction("resume") as session:
        campaigns.start(session, campaign_id=campaign_id, now=resumed)
        mailboxes.update(session, mailbox=ann, change=MailboxChange(), is_paused=False, now=resumed)
    later = resumed + timedelta(hours=1)
    mails(database, enrollment, sent=49, bounced=9, at=later, first=100)
    assert check(database, campaign_id, later + DAY) == 0
    mails(database, enrollment, sent=1, at=later, first=200)
    assert check(database, campaign_id, later + DAY) == 2


def test_only_the_last_seven_days_count_by_when_it_happened(database: Database) -> None:
    campaign_id, enrollment, _ = scene(database)
    mails(database, enrollment, sent=60, bounced=9, at=NOW - 6 * DAY, came=NOW - 8 * DAY)
    assert check(database, campaign_id) == 0
    mails(database, enrollment, sent=3, bounced=3, at=NOW - 9 * DAY, came=NOW - DAY, first=100)
    assert check(database, campaign_id, NOW + 2 * DAY) == 0, "of the last days there are no mails"
    assert check(database, campaign_id) == 2


def test_complaints_pause_and_settings_change_the_guardrails(database: Database) -> None:
    campaign_id, enrollment, _ = scene(database)
    mails(database, enrollment, sent=500, complained=2, sender="Ann's own account")
    with database.transaction("settings") as session:
        settings.update(session, complaint_rate=0.01)
        assert guardrails.check_all(session, now=NOW + DAY) == 0
        settings.update(session, bounce_rate=0, complaint_rate=0)
        assert guardrails.check_all(session, now=NOW + DAY) == 0
        settings.update(session, complaint_rate=0.004)
        assert guardrails.check_all(session, now=NOW + DAY) == 1, "the campaign alone: no mailbox has that name"
        assert "2 of 500 mails complained" in (campaigns.get(session, campaign_id=campaign_id).pause_reason or "")


def test_an_event_that_is_taken_back_counts_no_more(database: Database) -> None:
    campaign_id, enrollment, _ = scene(database)
    mails(database, enrollment, sent=59, bounced=2)
    bounce = partial(event, EventType.BOUNCED, enrollment, step_number=1, provider="imap", provider_event_id="b")
    record(database, event(EventType.SENT, enrollment, step_number=1), bounce())
    with database.transaction("take back") as session:
        withdrawal.withdraw(session, provider="imap", provider_event_ids=["b"], now=NOW)
        assert harm.noted(session) == frozenset()
    assert check(database, campaign_id) == 0
    with database.transaction("again") as session:
        events.record_events(session, events=[bounce()])
        assert harm.noted(session) == {Harmed(campaign_id, None)}
    assert check(database, campaign_id) == 1
