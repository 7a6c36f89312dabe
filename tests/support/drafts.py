"""Campaigns that ask a person, and drafts as tests write, approve and reject them."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from db.domain.drafts import DraftStatus, RejectThen
from db.domain.mailboxes import MailServer, Security
from db.domain.states import EnrollmentAction
from db.domain.templates import EmailStep, LinkedInStep
from db.models import ActionDraft
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.consent import decisions, drafts
from db.services.consent.decisions import Decided, Given
from db.services.consent.drafts import Shown
from db.services.dispatch import explain
from db.services.enrollments import enrollments, rejecting
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.steps import run_sql

STEPS = (
    EmailStep(1, "One {{ first_name | default: 'you' }}", "The first of all"),
    EmailStep(2, None, "The second of all", delay_hours=24),
    EmailStep(3, "Three", "The last of all", delay_hours=120),
)


def asking(
    database: Database,
    approval: str = "all",
    *,
    people: int = 1,
    steps: tuple[EmailStep, ...] = STEPS,
    linkedin: tuple[LinkedInStep, ...] = (),
    start_at: datetime | None = NOW,
    **settings: Any,
) -> tuple[UUID, list[UUID]]:
    """A campaign that asks so, and its enrollments."""
    make = partial(
        make_campaign,
        email_steps=steps,
        linkedin_steps=linkedin,
        settings={"approval": approval, **settings},
        start_at=start_at,
    )
    campaign_id = database.run("campaign", make)
    return campaign_id, enroll(database, campaign_id, [f"p{n}@example.com" for n in range(people)])


def write(
    database: Database,
    enrollment_id: UUID,
    body: str = "Words for you alone",
    *,
    step: int | None = None,
    subject: str | None = None,
    now: datetime = NOW,
) -> ActionDraft:
    words = {"step_number": step, "subject": subject, "body": body}
    work = partial(drafts.write, enrollment_id=enrollment_id, **words, now=now, public_url=None)
    return database.run("draft", work)


def waiting(database: Database, campaign_id: UUID | None = None, status: str = "waiting") -> list[ActionDraft]:
    """The drafts that wait, the oldest first."""
    look = partial(drafts.list_, campaign_id=campaign_id, status=DraftStatus(status), limit=500, cursor=None)
    return list(database.run("list", look, read_only=True).rows)[::-1]


def shown(database: Database, draft: ActionDraft) -> Shown:
    return database.run("show", partial(drafts.show, drafts=[draft]), read_only=True)[0]


def approve(database: Database, *given: ActionDraft, by: str = "ada", now: datetime = NOW) -> list[Decided]:
    words = [Given(draft.id, draft.fingerprint.hex()) for draft in given]
    return database.run("approve", partial(decisions.approve, given=words, by=by, now=now, public_url=None))


def reject(
    database: Database, draft: ActionDraft, then: str = "pause", reason: str = "Too long", now: datetime = NOW
) -> ActionDraft:
    work = partial(rejecting.reject, draft_id=draft.id, reason=reason, then=RejectThen(then), by="ada", now=now)
    return database.run("reject", work)


def statuses(database: Database, enrollment_id: UUID) -> list[tuple[int, str]]:
    """(step number, status) of each draft of an enrollment, the oldest first."""
    of_enrollment = "SELECT step_number, status FROM action_drafts WHERE enrollment_id = :id ORDER BY id"
    rows = run_sql(database, of_enrollment, id=enrollment_id)
    return [tuple(row) for row in rows]


def holds_of(database: Database, enrollment_id: UUID, *, hours: float = 0) -> list[str]:
    now = NOW + timedelta(hours=hours)
    told = database.run("explain", partial(explain.enrollment, enrollment_id=enrollment_id, now=now), read_only=True)
    return [str(hold.reason) for hold in told.holds]


def message(database: Database, enrollment_id: UUID) -> dict[str, Any]:
    """What the latest message of an enrollment was handed out as."""
    found = run_sql(
        database,
        "SELECT m.approval, m.fingerprint, m.approved_fingerprint, m.subject, b.body FROM messages m "
        "LEFT JOIN message_bodies b ON b.message_id = m.id WHERE m.enrollment_id = :id ORDER BY m.id DESC LIMIT 1",
        id=enrollment_id,
    )
    return dict(found.mappings().one())


def settings(database: Database, campaign_id: UUID, *, may_ask_less: bool = True, **given: object) -> None:
    fields = {"settings": given}
    set_ = partial(campaigns.update, campaign_id=campaign_id, fields=fields, now=NOW, may_ask_less=may_ask_less)
    database.run("set", set_)


def command(database: Database, enrollment_id: UUID, action: EnrollmentAction) -> None:
    database.run("command", partial(enrollments.update, enrollment_id=enrollment_id, action=action, now=NOW))


def connect(database: Database, address: str, signature: str | None = None) -> None:
    smtp = MailServer("smtp.acme.example", 587, Security.STARTTLS)
    change = MailboxChange(smtp=smtp, signature=signature, settings={"min_gap_seconds": 0})
    database.run("mailbox", partial(mailboxes.connect, address=address, change=change))


def names(database: Database, name: str) -> None:
    run_sql(database, "UPDATE contacts SET first_name = :name", name=name)
