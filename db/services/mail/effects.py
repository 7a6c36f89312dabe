"""What mails do that were judged: the events of each, the absences and holds, and how all of it is taken back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.holds import Hold, HoldReason
from db.domain.mail import MailKind, ReturnedRecipient
from db.domain.mail.effects import PROVIDER, RETURNED_FOR_NOW, Meaning, event_ids, events_of
from db.domain.states import EnrollmentCommand, EnrollmentStatus, MessageStatus, move_enrollment
from db.postgres.json import rows_parameter
from db.services.events import events, withdrawal
from db.services.mail.matching import Match
from db.services.people import absences
from db.services.state import enrollment_rows

_RECIPIENTS_MOST: Final = 100
_ROW_MOST: Final = 20


@dataclass(slots=True)
class Meant:
    """A mail of somebody, and what it is. sender: its address.

    recipients: of a bounce or a complaint. until: of an absence, the day of return, where it is named.
    """

    id: UUID
    occurred_at: datetime
    sender: str
    kind: MailKind
    match: Match
    recipients: tuple[ReturnedRecipient, ...] = ()
    until: date | None = None


def apply(session: Session, *, mails: Sequence[Meant], now: datetime) -> None:
    """Records the events of mails, begins absences and pauses what they hold. The caller has locked the people. A mail
    that was matched by an address alone makes no event, nor does one of our own."""
    sure = [mail for mail in mails if not mail.match.is_guess and mail.kind is not MailKind.OWNER_WROTE]
    for mail in sure:
        if mail.kind is MailKind.ABSENCE:
            began_at = min(mail.occurred_at, now)
            absences.begin(session, contact_id=mail.match.contact_id, began_at=began_at, until=mail.until, now=now)
    rows = _in_a_row(session, sure)
    found = [
        event
        for mail in sure
        for event in events_of(
            mail.id,
            Meaning(mail.kind, mail.recipients[:_RECIPIENTS_MOST], rows.get(mail.id, 0)),
            enrollment_id=mail.match.enrollment_id,
            step_number=mail.match.step_number,
            occurred_at=min(mail.occurred_at, now),
        )
    ]
    if found:
        events.record_events(session, events=found, from_provider=True, source=PROVIDER)
    _hold(session, mails)


def _hold(session: Session, mails: Sequence[Meant]) -> None:
    """Pauses the enrollments whose person a mail seems to be of, or to whom somebody has written by hand."""
    reasons: dict[UUID, Hold] = {}
    for mail in mails:
        if mail.kind is MailKind.OWNER_WROTE:
            reasons[mail.match.enrollment_id] = holds.of_owner(mail.sender)
        elif mail.match.is_guess:
            reasons.setdefault(mail.match.enrollment_id, holds.of_unsure_reply(mail.sender))
    if not reasons:
        return
    found = enrollment_rows.lock_some(session, enrollment_ids=reasons)
    before = enrollment_rows.snapshot(found)
    for enrollment in found:
        enrollment.end_wait()  # an approval would let it go on all the same
        if enrollment.status is EnrollmentStatus.ACTIVE:
            enrollment.pause(reasons[enrollment.id].detail)
    enrollment_rows.save(session, before=before, after=found)


_OTHER_ABSENCES = text(f"""
    SELECT m.occurred_at, m.return_on FROM threads t JOIN messages m ON m.thread_id = t.id
    WHERE t.contact_id = :contact AND m.kind = '{MailKind.ABSENCE}' AND NOT m.is_guess AND m.id <> :message
      AND m.occurred_at > CAST(:now AS timestamptz) - interval '1 year'
    ORDER BY m.occurred_at DESC LIMIT 50
""")
_IS_UNSURE = text("""
    SELECT EXISTS (SELECT FROM messages WHERE enrollment_id = :enrollment AND is_guess AND id <> :message)
""")


def take_back(session: Session, *, message_id: UUID, kind: MailKind, match: Match, now: datetime) -> None:
    """Takes back what a message did as one of that kind. The caller has locked its person."""
    ids = event_ids(message_id, _RECIPIENTS_MOST)
    withdrawal.withdraw(session, provider=PROVIDER, provider_event_ids=ids, now=now)
    values = {"contact": match.contact_id, "message": message_id, "enrollment": match.enrollment_id, "now": now}
    if kind is MailKind.ABSENCE and not match.is_guess:
        others = session.execute(_OTHER_ABSENCES, values).all()
        absences.end(session, contact_id=match.contact_id, now=now)
        for began_at, until in others:
            absences.begin(session, contact_id=match.contact_id, began_at=began_at, until=until, now=now)
    if match.is_guess and not session.scalar(_IS_UNSURE, values):
        _release(session, match.enrollment_id)


def _release(session: Session, enrollment_id: UUID) -> None:
    found = enrollment_rows.lock_some(session, enrollment_ids=[enrollment_id])
    before = enrollment_rows.snapshot(found)
    for enrollment in found:
        is_held = (enrollment.pause_reason or "").startswith(HoldReason.REPLY_UNSURE)
        if enrollment.status is EnrollmentStatus.PAUSED and is_held:
            enrollment.status = move_enrollment(enrollment.status, EnrollmentCommand.RESUME)
    enrollment_rows.save(session, before=before, after=found)


# The latest mails of a person, up to the moment of one of them.
_LATEST = text(f"""
    SELECT w.id, array(
        SELECT coalesce(m.bounce, '') FROM threads t
        JOIN messages m ON m.thread_id = t.id AND m.occurred_at <= w.at
          AND (m.kind IS NOT NULL OR m.status = '{MessageStatus.REFUSED}')
        WHERE t.contact_id = w.contact_id
        ORDER BY m.occurred_at DESC, m.id DESC LIMIT {_ROW_MOST}
    )
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(id uuid, contact_id uuid, at timestamptz)
""")


def _in_a_row(session: Session, mails: Iterable[Meant]) -> Mapping[UUID, int]:
    """Returns message -> how many mails of its person in a row came back for now, it included."""
    rows = [
        {"id": mail.id, "contact_id": mail.match.contact_id, "at": mail.occurred_at}
        for mail in mails
        if any(recipient.bounce in RETURNED_FOR_NOW and not recipient.is_delay for recipient in mail.recipients)
    ]
    if not rows:
        return {}
    return {id_: _beginning(latest) for id_, latest in session.execute(_LATEST, rows_parameter(rows))}


def returned_in_a_row(session: Session, *, message_id: UUID, contact_id: UUID, at: datetime) -> int:
    """Returns how many mails to a person in a row came back for now, or were refused so, up to then."""
    rows = [{"id": message_id, "contact_id": contact_id, "at": at}]
    return next((_beginning(latest) for _, latest in session.execute(_LATEST, rows_parameter(rows))), 0)


def _beginning(latest: Sequence[str]) -> int:
    soft = [str(kind) for kind in RETURNED_FOR_NOW]
    return next((n for n, bounce in enumerate(latest) if bounce not in soft), len(latest))
