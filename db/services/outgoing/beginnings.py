"""Mails that begin: each is made `sending`, with its very bytes, before the mail server is told it.

Those of several mailboxes that begin at the same moment do so in a constant number of statements.
"""

import zlib
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.enrollment import Enrollment
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
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.dispatch import held_steps
from db.services.dispatch.held_steps import Held
from db.services.mail import leases
from db.services.mail.leases import HeldLease
from db.services.mail.stopping import STOPPED_AT
from db.services.outgoing import claimed, replies
from db.services.outgoing.mails import FOR_GOOD, NotBegun, QueuedMail
from db.services.people import suppressions
from db.services.state import draft_rows, reply_rows

SENDING_TIME: Final = timedelta(minutes=15)
"""Longer than a server takes to answer: nobody looks at a step whose mail is being sent before that."""


class Beginning(NamedTuple):
    """A mail that is to begin: its very bytes, and the lease of its mailbox."""

    lease: HeldLease
    mail: QueuedMail
    raw: bytes


def begin(session: Session, *, beginnings: Sequence[Beginning], now: datetime) -> list[NotBegun | None]:
    """Makes mails `sending`, with their very bytes. To be committed before the mail servers are told the mails.

    Returns, in order, why a mail may not go out any more instead: its claim is then given back. LeaseLost if another
    process sends from one of the mailboxes: nothing of these may be sent then.
    """
    leases.hold_all(session, leases=[one.lease for one in beginnings], role=LeaseRole.SENDER)
    found = _look(session, beginnings, now)
    reasons = [_may_not(session, one.mail, found, now) for one in beginnings]
    told = list(zip(beginnings, reasons, strict=True))
    for one, reason in told:
        if reason is not None:
            _give_back(session, one.mail, reason, now)
    _write(session, [one for one, reason in told if reason is None], now)
    return reasons


class _Around(NamedTuple):
    """What a mail depends on besides its own rows."""

    campaign_status: str
    email: str | None
    absent_until: datetime | None
    is_erased: bool
    mailbox_status: str | None
    is_stopped: bool


class _Message(NamedTuple):
    """The row of a mail, locked."""

    status: str
    subject: str
    body: str | None
    claim_token: UUID | None
    fingerprint: bytes | None
    is_step_approved: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of mails that are to begin, all of it locked. around, messages: by the id of the mail; steps: by
    that of the action. suppressed: ids of mails."""

    around: Mapping[UUID, _Around]
    steps: Mapping[UUID, Held]
    messages: Mapping[UUID, _Message]
    suppressed: Collection[UUID]


# The campaign and the person before the enrollment, as everybody locks them: a pause, an unsubscribe or an erasure
# that is under way ends first, and one that comes later finds that the mail has begun. Read once the leases are held:
# who stops all sending waits for those.
_AROUND = text(f"""
    SELECT w.message, i.status, c.email, c.absent_until, c.erased_at IS NOT NULL,
           (SELECT status FROM mailboxes WHERE id = w.mailbox), {STOPPED_AT} IS NOT NULL
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(message uuid, instance_id uuid, contact uuid, mailbox uuid)
    JOIN campaign_instances i ON i.id = w.instance_id
    JOIN contacts c ON c.id = w.contact
    ORDER BY i.id, c.id FOR SHARE OF i FOR NO KEY UPDATE OF c
""").columns(*named("message", "campaign", "email", "absent_until", "is_erased", "mailbox", "is_stopped"))
# Once the enrollments are held, since who writes drafts holds them too.
_MESSAGES = text(f"""
    SELECT m.id, m.status, m.subject, b.body, m.claim_token, m.fingerprint, {draft_rows.APPROVED}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS w(message uuid, action uuid, mailbox uuid, instance_id uuid, enrollment_id uuid, step_number int)
    JOIN messages m ON m.id = w.message AND m.action_id IS NOT DISTINCT FROM w.action AND m.mailbox_id = w.mailbox
     AND m.direction = '{MessageDirection.OUT}'
    JOIN campaign_instances i ON i.id = w.instance_id
    LEFT JOIN message_bodies b ON b.message_id = m.id
    ORDER BY m.id FOR NO KEY UPDATE OF m
""").columns(*named("id", "status", "subject", "body", "claim_token", "fingerprint", "is_step_approved"))


def _look(session: Session, beginnings: Sequence[Beginning], now: datetime) -> _Found:
    rows = rows_parameter([_row(one) for one in beginnings])
    around = {id_: _Around(*rest) for id_, *rest in session.execute(_AROUND, rows)}
    mails = [one.mail for one in beginnings if one.mail.message_id in around]  # of the others the campaign is deleted
    steps = _hold_steps(session, mails)
    messages = {id_: _Message(*rest) for id_, *rest in session.execute(_MESSAGES, rows)}
    return _Found(around, steps, messages, _suppressed(session, mails, now))


def _row(one: Beginning) -> dict[str, Any]:
    return {
        "message": one.mail.message_id,
        "instance_id": one.mail.campaign_id,
        "contact": one.mail.contact_id,
        "enrollment_id": one.mail.enrollment_id,
        "action": one.mail.action_id,
        "step_number": one.mail.step_number,
        "mailbox": one.lease.mailbox_id,
    }


def _hold_steps(session: Session, mails: Iterable[QueuedMail]) -> Mapping[UUID, Held]:
    """Returns action -> the step of a mail, locked with its enrollment. Of replies the enrollments are locked alone."""
    asked: dict[UUID, None] = {}
    of_replies = list[UUID]()
    for mail in mails:
        if mail.action_id is None:
            of_replies.append(mail.enrollment_id)
        else:
            asked[mail.action_id] = None
    claimed.lock(session, enrollment_ids=of_replies)
    return held_steps.hold_all(session, messages=asked, with_plans=False) if asked else {}


def _suppressed(session: Session, mails: Sequence[QueuedMail], now: datetime) -> set[UUID]:
    """Returns the mails whose person must not be written to, or one of those who get a copy."""
    people = suppressions.of_people_in(session, people={(mail.campaign_id, mail.contact_id) for mail in mails}, now=now)
    return {
        mail.message_id
        for mail in mails
        if (mail.campaign_id, mail.contact_id) in people
        or suppressions.of_addresses(session, campaign_id=mail.campaign_id, addresses=mail.cc, now=now)
    }


def _is_approved(session: Session, mail: QueuedMail, message: _Message) -> bool:
    """Returns whether a mail is what was approved, where that is asked for."""
    if mail.step_number is not None:
        return message.is_step_approved
    is_the_same = message.fingerprint is None or bytes(message.fingerprint) == mail.wording.fingerprint
    return is_the_same and reply_rows.is_approved(session, message_id=mail.message_id)


def _may_not(session: Session, mail: QueuedMail, found: _Found, now: datetime) -> NotBegun | None:
    """Returns why the mail may not begin; None if it may. A reply answers a person, whatever has become of the campaign
    and the enrollment."""
    around, message = found.around.get(mail.message_id), found.messages.get(mail.message_id)
    if around is None or message is None:
        return NotBegun.ERASED if around is not None and around.is_erased else NotBegun.CLAIMED_ANEW
    held = None if mail.action_id is None else found.steps.get(mail.action_id)
    is_queued = message.status in STATES_BEFORE[MessageCommand.BEGIN]
    rules = (
        (NotBegun.ERASED, around.is_erased or (held is not None and held.enrollment.is_erased)),
        (NotBegun.CLAIMED_ANEW, not (is_queued and _is_claim_of(mail, held, message))),
        (NotBegun.STOPPED, around.is_stopped),
        (NotBegun.MAILBOX, around.mailbox_status != MailboxStatus.ACTIVE),
        *(() if held is None else _rules_of_step(held, around, now)),
        (NotBegun.SUPPRESSED, mail.message_id in found.suppressed),
        (NotBegun.ADDRESS, around.email != mail.recipient.address),
        (NotBegun.WORDS, (message.subject, message.body) != (mail.subject, mail.text)),
        (NotBegun.APPROVAL, not _is_approved(session, mail, message)),
    )
    return next((reason for reason, is_so in rules if is_so), None)


def _rules_of_step(held: Held, around: _Around, now: datetime) -> Iterator[tuple[NotBegun, bool]]:
    yield NotBegun.CAMPAIGN, around.campaign_status != CampaignStatus.ACTIVE
    yield NotBegun.ENROLLMENT, not _is_active(held.enrollment, now)
    yield NotBegun.ABSENT, around.absent_until is not None and around.absent_until > now


def _is_claim_of(mail: QueuedMail, held: Held | None, message: _Message) -> bool:
    """Returns whether the step is still claimed for this mail, and comes next; or whether nobody has tried the reply
    since."""
    if mail.action_id is None:
        return message.claim_token == mail.lease_token
    if held is None:
        return False
    is_claimed = held.status == ActionStatus.CLAIMED and held.lease_token == mail.lease_token
    is_next = held.enrollment.current_step < held.action.step_number
    return is_claimed and held.action.reported is None and held.action.channel is Channel.EMAIL and is_next


def _is_active(enrollment: Enrollment, now: datetime) -> bool:
    enrollment.end_pause(now)
    return enrollment.status is EnrollmentStatus.ACTIVE


def _give_back(session: Session, mail: QueuedMail, reason: NotBegun, now: datetime) -> None:
    """Gives back the claim of a mail that may not begin."""
    if mail.action_id is None and reason in FOR_GOOD:
        replies.drop(session, mail=mail, reason=reason)
    elif mail.action_id is not None and reason is not NotBegun.CLAIMED_ANEW:
        claimed.give_back(session, action_ids=[mail.action_id], now=now)


_BEGIN = text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(
            message uuid, instance_id uuid, enrollment_id uuid, action uuid, hash text, raw text)
    ), begun AS (
        UPDATE messages m
        SET status = '{MessageStatus.SENDING}', sending_at = :now, first_tried_at = coalesce(m.first_tried_at, :now),
            next_attempt_at = NULL, hash = decode(g.hash, 'base64'), updated_at = now()
        FROM given g WHERE m.id = g.message RETURNING 1
    ), bodies AS (
        UPDATE message_bodies b SET raw = decode(g.raw, 'base64')
        FROM given g WHERE b.message_id = g.message RETURNING 1
    ), claims AS (
        UPDATE campaign_actions a SET lease_until = :until, updated_at = now()
        FROM given g WHERE a.instance_id = g.instance_id AND a.id = g.action RETURNING 1
    ), enrollments AS (
        UPDATE campaign_enrollments e SET next_action_at = :until, updated_at = now()
        FROM given g WHERE e.instance_id = g.instance_id AND e.id = g.enrollment_id AND g.action IS NOT NULL RETURNING 1
    )
    SELECT (SELECT count(*) FROM begun) + (SELECT count(*) FROM bodies) + (SELECT count(*) FROM claims)
         + (SELECT count(*) FROM enrollments)
""")


def _write(session: Session, beginnings: Sequence[Beginning], now: datetime) -> None:
    if not beginnings:
        return
    rows = [
        {
            **_row(one),
            "hash": b64encode(sha256(one.raw).digest()).decode(),
            "raw": b64encode(zlib.compress(one.raw, level=1)).decode(),
        }
        for one in beginnings
    ]
    session.execute(_BEGIN, {**rows_parameter(rows), "now": now, "until": now + SENDING_TIME})
