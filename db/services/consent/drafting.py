"""Keeps the words of steps as drafts, for a person to approve."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.drafts import AHEAD_HOURS, DraftSource, DraftStatus
from db.domain.enrollment import Enrollment
from db.domain.mailboxes import MailboxStatus
from db.domain.scheduling import Plan, Step
from db.domain.states import Channel
from db.models import Contact
from db.services.campaigns.step_texts import Text
from db.services.consent.asked import read_mailboxes, wording
from db.services.mail import pools
from db.services.state import draft_rows
from db.services.state.draft_rows import Draft, NewDraft

_AHEAD: Final = timedelta(hours=AHEAD_HOURS)


class Undecided(NamedTuple):
    """A step that nobody has approved as it is now. draft: of the words that it had before. is_literal: they were
    written for this person, and stay."""

    enrollment: Enrollment
    contact: Contact
    step: Step
    text: Text
    draft: Draft | None
    is_literal: bool


def keep(session: Session, *, steps: Sequence[Undecided], plans: Mapping[UUID, Plan], now: datetime) -> None:
    """Drafts the words of these steps, unless they wait already as they are. Whoever has no mailbox yet gets one of
    those of the campaign with it; the caller writes the enrollments."""
    written = [undecided.enrollment for undecided in steps if undecided.step.channel is Channel.EMAIL]
    choose_mailboxes(session, enrollments=written, plans=plans, now=now)
    mailboxes = read_mailboxes(session, mailbox_ids=[undecided.enrollment.mailbox_id for undecided in steps])
    fresh: list[NewDraft] = []
    for undecided in steps:
        enrollment, step, draft = undecided.enrollment, undecided.step, undecided.draft
        words = wording(enrollment, undecided.contact, step, undecided.text, mailboxes)
        if draft is not None and draft.status is DraftStatus.WAITING and draft.fingerprint == words.fingerprint:
            continue
        source = DraftSource.WRITTEN if undecided.is_literal else DraftSource.TEMPLATE
        has_subject = draft is not None and draft.has_subject and undecided.is_literal
        key = (enrollment.campaign_id, enrollment.id, step.step_number)
        fresh.append(NewDraft(*key, step.channel, source, has_subject, words))
    draft_rows.replace(session, drafts=fresh)


def choose_mailboxes(
    session: Session, *, enrollments: Sequence[Enrollment], plans: Mapping[UUID, Plan], now: datetime
) -> None:
    """Gives each person who has no mailbox yet one of their campaign's: evenly, as far as the daily limits let them out
    within two days, and else the one that comes to them first. One that is paused or failing gets nobody, unless all
    are. The caller writes the enrollments."""
    new = [one for one in enrollments if one.mailbox_id is None and plans[one.campaign_id].sending.mailboxes]
    if not new:
        return
    concerned = {enrollment.campaign_id: plans[enrollment.campaign_id] for enrollment in new}
    known = pools.of_plans(session, plans=concerned)
    known.people = pools.people(session, pools=known, campaigns=concerned.keys())
    mails = pools.mails(session, pools=known, until=now + _AHEAD)
    for enrollment in new:
        pool = known.pool(enrollment.campaign_id)
        able = [mailbox for mailbox in pool if mailbox.status is MailboxStatus.ACTIVE] or pool
        if able:
            mailbox = known.soonest(enrollment.campaign_id, able, mails, _AHEAD, now)
            known.assign(enrollment.campaign_id, mailbox)
            mails[mailbox.id] += 1
            enrollment.mailbox_id = mailbox.id
