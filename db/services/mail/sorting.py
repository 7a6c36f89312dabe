"""Says again what mails are that were recorded: by hand, which stays, or by the rules of today.

What a mail did as one of its former kind is taken back whole before it is recorded as one of the new.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.mail import BounceKind, MailKind, Reason, ReturnedRecipient
from db.domain.states import Interest, MessageDirection, MessageStatus
from db.models import Message
from db.postgres.results import named
from db.services.mail import effects, recording, threads
from db.services.mail.matching import Match
from db.services.mail.recording import Judged
from db.services.people import opt_outs

BY_HAND: Final = "by_hand"
"""The rule of what was sorted by hand."""


class Recorded(NamedTuple):
    """A mail that was recorded, with its bytes as far as they are kept."""

    id: UUID
    occurred_at: datetime
    internet_message_id: str
    kind: MailKind
    bounce: str | None
    until: date | None
    sender: str
    match: Match
    raw: bytes


_COLUMNS = """
    m.id, m.occurred_at, m.internet_message_id, m.kind, m.bounce, m.return_on, coalesce(m.sender, ''),
    m.instance_id, m.enrollment_id, e.contact_id, m.thread_id, m.is_guess, b.raw
"""
_FROM = """
    FROM messages m
    JOIN campaign_enrollments e ON e.instance_id = m.instance_id AND e.id = m.enrollment_id
    LEFT JOIN message_bodies b ON b.message_id = m.id
"""
_NAMES = named(
    "id", "occurred_at", "internet_message_id", "kind", "bounce", "return_on", "sender", "campaign_id", "enrollment_id",
    "contact_id", "thread_id", "is_guess", "raw",
)  # fmt: skip
_ONE = text(f"""
    SELECT {_COLUMNS} {_FROM} WHERE m.id = :id AND m.status = '{MessageStatus.RECORDED}' FOR NO KEY UPDATE OF m
""").columns(*_NAMES)
_SOME = text(f"""
    SELECT {_COLUMNS} {_FROM}
    WHERE m.status = '{MessageStatus.RECORDED}' AND m.sorted_at IS NULL AND b.raw IS NOT NULL
      AND (CAST(:mailbox AS uuid) IS NULL OR m.mailbox_id = :mailbox)
      AND (CAST(:since AS timestamptz) IS NULL OR m.occurred_at >= :since)
      AND (CAST(:after AS uuid) IS NULL OR m.id > :after)
    ORDER BY m.id LIMIT :limit FOR NO KEY UPDATE OF m
""").columns(*_NAMES)


def sort_reply(
    session: Session,
    *,
    message_id: UUID,
    kind: MailKind | None,
    until: date | None,
    interest: Interest | None,
    now: datetime,
) -> Message:
    """Says what a message is, over any verdict of the rules, and what interest the person has shown.

    kind: what it did as one of another kind is taken back. until: of an absence, the day of return. InvalidInput if
    nothing is said, or if until goes with another kind. NotFound if there is no such message, Refused if it is ours.
    """
    row = session.get(Message, message_id)
    if row is None or row.status != MessageStatus.RECORDED:
        raise NotFound("message", message_id, hint="get_thread shows the messages of a thread.")
    if row.direction != MessageDirection.IN:
        raise Refused("This message is one of our own. Only what came in is sorted.")
    if kind is None and until is None and interest is None:
        raise InvalidInput("Give kind, interest or both.")
    wanted = MailKind(row.kind or "") if kind is None else kind
    if until is not None and wanted is not MailKind.ABSENCE:
        raise InvalidInput(f"until goes with kind absence alone, and this is {wanted}. Leave until out.")
    if kind is not None or until is not None:
        _sort(session, message_id, wanted, until, now)
    session.refresh(row)
    if interest is not None:
        row.interest = interest
    session.flush()
    return row


def _sort(session: Session, message_id: UUID, kind: MailKind, until: date | None, now: datetime) -> None:
    contact_id = session.scalar(_PERSON, {"id": message_id})
    opt_outs.lock_addresses(session, contact_ids=[contact_id] if contact_id else [])
    known = _recorded(session.execute(_ONE, {"id": message_id}).one())
    is_new = (kind, until or known.until) != (known.kind, known.until) or known.match.is_guess
    if is_new:
        effects.take_back(session, message_id=message_id, kind=known.kind, match=known.match, now=now)
    session.execute(
        _SORTED,
        {
            "id": message_id,
            "kind": kind,
            "until": (until or known.until) if kind is MailKind.ABSENCE else None,
            "bounce": (known.bounce or BounceKind.HARD) if kind is MailKind.BOUNCE else None,
            "now": now,
        },
    )
    if is_new:
        match = _match_again(session, known, now)._replace(is_guess=False, thread_id=known.match.thread_id)
        recipients = _recipients(known.bounce) if kind is MailKind.BOUNCE else ()
        day = (until or known.until) if kind is MailKind.ABSENCE else None
        meant = effects.Meant(message_id, known.occurred_at, known.sender, kind, match, recipients, day)
        effects.apply(session, mails=[meant], now=now)
    if known.match.thread_id is not None:
        threads.refresh(session, thread_ids={known.match.thread_id: is_new and kind is MailKind.HUMAN})


_PERSON = text("""
    SELECT e.contact_id FROM messages m
    JOIN campaign_enrollments e ON e.instance_id = m.instance_id AND e.id = m.enrollment_id WHERE m.id = :id
""")
_SORTED = text(f"""
    UPDATE messages
    SET kind = :kind, bounce = :bounce, return_on = :until, rule = '{BY_HAND}', evidence = NULL, is_guess = FALSE,
        sorted_at = :now, updated_at = now()
    WHERE id = :id
""")


def _recorded(row: Sequence[object]) -> Recorded:
    (id_, at, own_id, kind, bounce, until, sender, campaign_id, enrollment_id, contact_id, thread_id, guess, raw) = row
    match = Match(campaign_id, enrollment_id, contact_id, thread_id, is_guess=guess)  # pyright: ignore[reportArgumentType]
    bytes_ = zlib.decompress(raw) if isinstance(raw, bytes) else b""
    return Recorded(id_, at, own_id, MailKind(kind), bounce, until, sender, match, bytes_)  # pyright: ignore[reportArgumentType]


def _match_again(session: Session, known: Recorded, now: datetime) -> Match:
    """Returns whose the mail is, with the step that it answers, if its bytes still tell that."""
    found = recording.judged(session, mails=[known], now=now).get(known.id) if known.raw else None
    return found.match if found and found.match.enrollment_id == known.match.enrollment_id else known.match


def _recipients(bounce: str | None) -> tuple[ReturnedRecipient, ...]:
    return (ReturnedRecipient("", BounceKind(bounce or BounceKind.HARD), Reason.of(BY_HAND, "")),)


class Replayed(NamedTuple):
    """How many mails were judged again, how many of them are something else now, and the last of them."""

    replayed: int
    changed: int
    last: UUID | None


def replay_some(
    session: Session, *, mailbox_id: UUID | None, since: datetime | None, after: UUID | None, limit: int, now: datetime
) -> Replayed:
    """Judges up to `limit` recorded mails again by the rules of today, the oldest first, beginning after one of them.
    What was sorted by hand stays. `last` is None if none is left."""
    values = {"mailbox": mailbox_id, "since": since, "after": after, "limit": limit}
    known = {row.id: row for row in map(_recorded, session.execute(_SOME, values).all())}
    if not known:
        return Replayed(0, 0, None)
    opt_outs.lock_addresses(session, contact_ids={row.match.contact_id for row in known.values()})
    found = recording.judged(session, mails=list(known.values()), now=now)
    changed = [mail for mail in found.values() if _differs(mail, known[mail.id])]
    for mail in changed:
        row = known[mail.id]
        effects.take_back(session, message_id=mail.id, kind=row.kind, match=row.match, now=now)
    again = [_in_thread(mail, known[mail.id].match) for mail in changed]
    recording.record(session, mails=again, now=now)
    left = {row.match.thread_id for row in known.values() if row.id in found}
    threads.refresh(session, thread_ids={id_: False for id_ in left if id_ is not None})
    return Replayed(len(known), len(changed), max(known))


def _differs(mail: Judged, known: Recorded) -> bool:
    now_, before = mail.match, known.match
    return (mail.kind, mail.bounce, mail.until, now_.enrollment_id, now_.is_guess) != (
        known.kind,
        known.bounce,
        known.until,
        before.enrollment_id,
        before.is_guess,
    )


def _in_thread(mail: Judged, before: Match) -> Judged:
    is_same = mail.match.enrollment_id == before.enrollment_id and mail.match.thread_id is None
    return replace(mail, match=mail.match._replace(thread_id=before.thread_id)) if is_same else mail
