"""Mails that this server sends, from the claim of their step to the moment at which the mail server is told them.

Each step of the way is committed before the next begins: the claim with the row `queued`, then `sending` with the very
bytes, then what the server answered (db.services.outgoing.outcomes). Whoever finds `sending` after a process was killed
can't know whether the mail went out, and never sends it again by itself.
"""

import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.enrollment import Enrollment
from db.domain.mail.message import Address
from db.domain.mailboxes import LeaseRole, MailboxStatus
from db.domain.states import (
    STATES_BEFORE,
    ActionStatus,
    CampaignStatus,
    Channel,
    EnrollmentStatus,
    MessageCommand,
    MessageDirection,
    MessageStatus,
)
from db.models import Mailbox
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.dispatch import claims, held_steps
from db.services.dispatch.hand_out import DueAction
from db.services.dispatch.held_steps import Held
from db.services.mail import leases, stopping
from db.services.mail.leases import HeldLease
from db.services.outgoing import claimed, replies, signs
from db.services.outgoing.mails import FOR_GOOD, NotBegun, QueuedMail
from db.services.people import suppressions
from db.services.state import draft_rows, reply_rows
from db.services.texts import unsubscribe_links

CLAIM_SECONDS: Final = 300
"""How long a claimed mail waits for its turn before its step is due again."""
SENDING_TIME: Final = timedelta(minutes=15)
"""Longer than a server takes to answer: nobody looks at a step whose mail is being sent before that."""


class TakenOver(NamedTuple):
    """What the last holder of a lease left: mails that may have been sent, and claims that had not begun."""

    unknown: int
    released: int


class NextMails(NamedTuple):
    """The mails to send now, in their order. next_at: when to look again, as far as that depends on time alone.
    is_more: at once, since this time all that was due was set aside."""

    mails: Sequence[QueuedMail]
    next_at: datetime | None
    is_more: bool = False


def hold(session: Session, lease: HeldLease) -> None:
    """Locks the lease of the mailbox's sender for this transaction. LeaseLost if another process has it."""
    leases.hold(session, mailbox_id=lease.mailbox_id, role=LeaseRole.SENDER, token=lease.token)


_SENDING = text(f"""
    SELECT enrollment_id FROM messages
    WHERE mailbox_id = :mailbox AND status = '{MessageStatus.SENDING}' AND action_id IS NOT NULL
""")
_LOSE = text(f"""
    UPDATE messages SET status = '{MessageStatus.UNKNOWN}', updated_at = now()
    WHERE mailbox_id = :mailbox AND status = '{MessageStatus.SENDING}' RETURNING enrollment_id, action_id
""").columns(*named("enrollment_id", "action_id"))
_WAITING = text(f"""
    SELECT a.id FROM messages m
    JOIN campaign_actions a ON a.instance_id = m.instance_id AND a.id = m.action_id
    WHERE m.mailbox_id = :mailbox AND m.status = '{MessageStatus.QUEUED}' AND m.next_attempt_at IS NULL
      AND a.status = '{ActionStatus.CLAIMED}' AND a.lease_until > :now
""")


def take_over(session: Session, *, lease: HeldLease, now: datetime) -> TakenOver:
    """Settles what the last holder of the lease left: what it was sending becomes unknown, and what it had claimed and
    not begun is due again. Called once, before anything else is done under a new lease."""
    hold(session, lease)
    of_mailbox = {"mailbox": lease.mailbox_id}
    found = claimed.lock(session, enrollment_ids=session.scalars(_SENDING, of_mailbox).all())
    lost = session.execute(_LOSE, of_mailbox).all()
    steps = {enrollment_id: action_id for enrollment_id, action_id in lost if action_id is not None}
    claimed.lose(session, enrollments=found, lost=steps, now=now)
    waiting = session.scalars(_WAITING, {**of_mailbox, "now": now}).all()
    released = claimed.give_back(session, action_ids=waiting, now=now)
    signs.settle(session, mailbox_id=lease.mailbox_id, now=now)
    return TakenOver(len(lost), released)


def next_mails(
    session: Session,
    *,
    lease: HeldLease,
    limit: int,
    now: datetime,
    public_url: str | None,
    include_overdue: bool = False,
) -> NextMails:
    """Claims up to `limit` mails that the mailbox sends now: replies, for which people wait, else steps.
    include_overdue: see claims.claim_for_mailbox."""
    hold(session, lease)
    signs.settle(session, mailbox_id=lease.mailbox_id, now=now)
    waited_for = replies.claim(session, mailbox_id=lease.mailbox_id, limit=limit, now=now)
    if waited_for:
        return NextMails(waited_for, None)
    found = _claim(session, lease.mailbox_id, limit, now, public_url, include_overdue=include_overdue)
    mailbox = session.get_one(Mailbox, lease.mailbox_id)
    queued = _queue(session, [due.action_id for due in found.actions])
    mails = [_mail(due, queued[due.action_id], mailbox) for due in found.actions if due.action_id in queued]
    return NextMails(mails, found.next_due_at, found.is_more)


def _claim(
    session: Session, mailbox_id: UUID, limit: int, now: datetime, public_url: str | None, *, include_overdue: bool
) -> claims.Claim:
    return claims.claim_for_mailbox(
        session,
        mailbox_id=mailbox_id,
        limit=limit,
        lease_seconds=CLAIM_SECONDS,
        now=now,
        public_url=public_url,
        include_overdue=include_overdue,
    )


# A claim has left them without a status, as what it hands to agents.
_QUEUE = text(f"""
    UPDATE messages SET status = '{MessageStatus.QUEUED}', updated_at = now()
    WHERE action_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND direction = '{MessageDirection.OUT}' AND status IS NULL
    RETURNING action_id, id
""").columns(*named("action_id", "id"))


def _queue(session: Session, action_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Returns action -> its message, of those that are queued."""
    return dict(tuple(row) for row in session.execute(_QUEUE, rows_parameter(action_ids))) if action_ids else {}


def _mail(due: DueAction, message_id: UUID, mailbox: Mailbox) -> QueuedMail:
    said, contact = due.text, due.contact
    assert said.subject is not None, "an email has one"
    assert said.body is not None, "an email has one"
    assert said.internet_message_id is not None, "the mailbox's domain ends it"
    assert contact.email is not None, "a claim holds who has none"
    name = " ".join(filter(None, (contact.first_name, contact.last_name)))
    return QueuedMail(
        message_id=message_id,
        action_id=due.action_id,
        lease_token=due.lease_token,
        enrollment_id=due.enrollment.id,
        campaign_id=due.enrollment.campaign_id,
        contact_id=contact.id,
        step_number=due.step.step_number,
        sender=Address(mailbox.display_name or "", mailbox.address),
        recipient=Address(name, contact.email),
        subject=said.subject,
        text=said.body,
        signature=mailbox.signature,
        internet_message_id=said.internet_message_id,
        references=said.references,
        headers={
            **(unsubscribe_links.headers(said.unsubscribe_url) if said.unsubscribe_url else {}),
            **due.mailbox_headers,
        },
    )


def release(session: Session, *, lease: HeldLease, mails: Sequence[QueuedMail], now: datetime) -> None:
    """Makes the steps of mails that have not begun due again, as before a server ends. Replies are queued as it is."""
    hold(session, lease)
    steps = [mail.action_id for mail in mails if mail.action_id is not None]
    claimed.give_back(session, action_ids=steps, now=now)


# The campaign and the person before the enrollment, as everybody locks them: a pause, an unsubscribe or an erasure
# that is under way ends first, and one that comes later finds that the mail has begun.
_SURROUNDINGS = text("""
    SELECT i.status, c.email, c.absent_until, c.erased_at IS NOT NULL,
           (SELECT status FROM mailboxes WHERE id = :mailbox)
    FROM campaign_instances i JOIN contacts c ON c.id = :contact
    WHERE i.id = :campaign FOR SHARE OF i FOR NO KEY UPDATE OF c
""")
_MESSAGE = text(f"""
    SELECT m.status, m.subject, b.body, m.claim_token, m.fingerprint
    FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id
    WHERE m.id = :message AND m.action_id IS NOT DISTINCT FROM CAST(:action AS uuid) AND m.mailbox_id = :mailbox
      AND m.direction = '{MessageDirection.OUT}'
    FOR NO KEY UPDATE OF m
""")
_BEGIN = text(f"""
    WITH begun AS (
        UPDATE messages
        SET status = '{MessageStatus.SENDING}', sending_at = :now, first_tried_at = coalesce(first_tried_at, :now),
            next_attempt_at = NULL, hash = :hash, updated_at = now()
        WHERE id = :message RETURNING id
    ), bodies AS (
        UPDATE message_bodies SET raw = :raw WHERE message_id = :message RETURNING message_id
    ), claim AS (
        UPDATE campaign_actions SET lease_until = :until, updated_at = now()
        WHERE instance_id = :campaign AND id = CAST(:action AS uuid) RETURNING id
    ), enrollment AS (
        UPDATE campaign_enrollments SET next_action_at = :until, updated_at = now()
        WHERE instance_id = :campaign AND id = :enrollment AND CAST(:action AS uuid) IS NOT NULL RETURNING id
    )
    SELECT (SELECT count(*) FROM begun) + (SELECT count(*) FROM bodies) + (SELECT count(*) FROM claim)
         + (SELECT count(*) FROM enrollment)
""")


def begin(session: Session, *, lease: HeldLease, mail: QueuedMail, raw: bytes, now: datetime) -> NotBegun | None:
    """Makes a mail `sending`, with its very bytes. To be committed before the mail server is told the mail.

    Returns why it may not go out any more instead: its claim is then given back. LeaseLost if another process sends
    from the mailbox: nothing may be sent then.
    """
    hold(session, lease)
    is_stopped = stopping.stopped_at(session) is not None
    given = {"campaign": mail.campaign_id, "contact": mail.contact_id, "mailbox": lease.mailbox_id}
    around = session.execute(_SURROUNDINGS, given).one_or_none()
    if around is None:  # the campaign or the person is deleted
        return NotBegun.CLAIMED_ANEW
    held = _hold_step(session, mail)
    row = session.execute(
        _MESSAGE, {"message": mail.message_id, "action": mail.action_id, "mailbox": lease.mailbox_id}
    ).one_or_none()
    message = None if row is None else _Message(*row)
    reason = _may_not(session, mail, held, Surroundings(*around, is_stopped=is_stopped), message, now)
    if reason is not None:
        _give_back(session, mail, reason, now)
        return reason
    session.execute(
        _BEGIN,
        {
            "message": mail.message_id,
            "campaign": mail.campaign_id,
            "action": mail.action_id,
            "enrollment": mail.enrollment_id,
            "hash": sha256(raw).digest(),
            "raw": zlib.compress(raw, level=1),
            "until": now + SENDING_TIME,
            "now": now,
        },
    )
    return None


def _hold_step(session: Session, mail: QueuedMail) -> Held | None:
    """Returns the step of a mail, locked with its enrollment. Of a reply the enrollment is locked alone."""
    if mail.action_id is None:
        claimed.lock(session, enrollment_ids=[mail.enrollment_id])
        return None
    return held_steps.hold(session, action_id=mail.action_id, provider_message_id=None)


def _give_back(session: Session, mail: QueuedMail, reason: NotBegun, now: datetime) -> None:
    """Gives back the claim of a mail that may not begin."""
    if mail.action_id is None and reason in FOR_GOOD:
        replies.drop(session, mail=mail, reason=reason)
    elif mail.action_id is not None and reason is not NotBegun.CLAIMED_ANEW:
        claimed.give_back(session, action_ids=[mail.action_id], now=now)


class _Message(NamedTuple):
    """The row of a mail, locked."""

    status: str
    subject: str
    body: str | None
    claim_token: UUID | None
    fingerprint: bytes | None


class Surroundings(NamedTuple):
    """What a mail depends on besides its own rows."""

    campaign_status: str
    email: str | None
    absent_until: datetime | None
    is_erased: bool
    mailbox_status: str | None
    is_stopped: bool


def _may_not(
    session: Session,
    mail: QueuedMail,
    held: Held | None,
    around: Surroundings,
    message: _Message | None,
    now: datetime,
) -> NotBegun | None:
    """Returns why the mail may not begin; None if it may. A reply answers a person, whatever has become of the campaign
    and the enrollment."""
    if message is None:
        return NotBegun.ERASED if around.is_erased else NotBegun.CLAIMED_ANEW
    is_queued = message.status in STATES_BEFORE[MessageCommand.BEGIN]
    rules = (
        (NotBegun.ERASED, around.is_erased or (held is not None and held.enrollment.is_erased)),
        (NotBegun.CLAIMED_ANEW, not (is_queued and _is_claim_of(mail, held, message))),
        (NotBegun.STOPPED, around.is_stopped),
        (NotBegun.MAILBOX, around.mailbox_status != MailboxStatus.ACTIVE),
        *(() if held is None else _rules_of_step(held, around, now)),
        (NotBegun.SUPPRESSED, _is_suppressed(session, mail, now)),
        (NotBegun.ADDRESS, around.email != mail.recipient.address),
        (NotBegun.WORDS, (message.subject, message.body) != (mail.subject, mail.text)),
        (NotBegun.APPROVAL, not _is_approved(session, mail, message)),
    )
    return next((reason for reason, is_so in rules if is_so), None)


def _rules_of_step(held: Held, around: Surroundings, now: datetime) -> Iterator[tuple[NotBegun, bool]]:
    yield NotBegun.CAMPAIGN, around.campaign_status != CampaignStatus.ACTIVE
    yield NotBegun.ENROLLMENT, not _is_active(held.enrollment, now)
    yield NotBegun.ABSENT, around.absent_until is not None and around.absent_until > now


def _is_suppressed(session: Session, mail: QueuedMail, now: datetime) -> bool:
    """Returns whether the person must not be written to, or one of those who get a copy."""
    people = suppressions.of_people_in(session, people=[(mail.campaign_id, mail.contact_id)], now=now)
    copies = suppressions.of_addresses(session, campaign_id=mail.campaign_id, addresses=mail.cc, now=now)
    return bool(people or copies)


def _is_approved(session: Session, mail: QueuedMail, message: _Message) -> bool:
    """Returns whether the mail is what was approved, where that is asked for."""
    if mail.step_number is not None:
        return draft_rows.is_approved(session, message_id=mail.message_id, step_number=mail.step_number)
    is_the_same = message.fingerprint is None or bytes(message.fingerprint) == mail.wording.fingerprint
    return is_the_same and reply_rows.is_approved(session, message_id=mail.message_id)


def _is_claim_of(mail: QueuedMail, held: Held | None, message: _Message) -> bool:
    """Returns whether the step is still claimed for this mail, and comes next; or whether nobody has tried the reply
    since."""
    if held is None:
        return message.claim_token == mail.lease_token
    is_claimed = held.status == ActionStatus.CLAIMED and held.lease_token == mail.lease_token
    is_next = held.enrollment.current_step < held.action.step_number
    return is_claimed and held.action.reported is None and held.action.channel is Channel.EMAIL and is_next


def _is_active(enrollment: Enrollment, now: datetime) -> bool:
    enrollment.end_pause(now)
    return enrollment.status is EnrollmentStatus.ACTIVE
