"""Judges mails that came in, and records whose they are and what they mean.

A mail that is recorded is not pending any more, and its events have its id, so nothing counts twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.field_limits import MAIL_EVIDENCE_MAX, MAIL_RULE_MAX
from db.domain.mail import BounceKind, MailKind, ParsedMail, Verdict
from db.domain.mail.effects import references_of
from db.domain.mail.unsubscribe_mails import token_in
from db.domain.states import MessageDirection, MessageStatus
from db.domain.texts import storable_part
from db.mail import parse_mail
from db.postgres import faults
from db.postgres.json import rows_parameter
from db.services.mail import effects, incoming, matching, reading, threads
from db.services.mail.effects import Meant
from db.services.mail.incoming import Pending
from db.services.mail.matching import Asked, Match
from db.services.mail.reading import UnrelatedPlace
from db.services.people import opt_outs
from db.services.state import reply_rows

INTERNAL_FAULT: Final = "internal_fault"
"""The rule of a mail that can't be recorded; its evidence is the id under which the log has the fault."""
_OF_NOBODY: Final = frozenset({MailKind.OTHER})
"""Mails of these kinds belong to nobody if they were found by an address alone."""


class Mail(Protocol):
    """What is judged: a mail with its bytes."""

    @property
    def id(self) -> UUID: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def internet_message_id(self) -> str: ...
    @property
    def raw(self) -> bytes: ...


@dataclass(slots=True)
class Judged(Meant):
    """A mail that belongs to somebody, with what the rules say of it."""

    verdict: Verdict | None = None

    @property
    def bounce(self) -> BounceKind | None:
        """Of a returned mail, why it came back; None for a notice of a delay."""
        returned = (recipient.bounce for recipient in self.recipients if not recipient.is_delay)
        return next(returned, None) if self.kind is MailKind.BOUNCE else None


def record_some(session: Session, *, mailbox_id: UUID, limit: int, now: datetime) -> int:
    """Judges and records up to `limit` pending mails of a mailbox, the oldest first. Returns how many; 0 if none is
    left. Of a mail that turns out to be of nobody we write to, only its place is kept."""
    pending = incoming.pending(session, mailbox_id=mailbox_id, limit=limit)
    if pending:
        _record_sound(session, mailbox_id, pending, now)
    return len(pending)


def _record_sound(session: Session, mailbox_id: UUID, pending: Sequence[Pending], now: datetime) -> None:
    """Records these mails at once. If that fails for some of them, records the others without them, and sets those
    aside: one mail that can't be recorded must not hold up all that comes after it."""
    try:
        with session.begin_nested():
            _record_pending(session, mailbox_id, pending, now)
    except Exception as error:
        if not faults.is_of_a_row(error):
            raise
        if len(pending) == 1:
            fault = faults.note("a mail can't be recorded", error, mail=str(pending[0].id))
            session.execute(_SET_ASIDE, {"id": pending[0].id, "fault": fault})
            return
        middle = len(pending) // 2
        _record_sound(session, mailbox_id, pending[:middle], now)
        _record_sound(session, mailbox_id, pending[middle:], now)


_SET_ASIDE = text(f"""
    UPDATE messages
    SET status = '{MessageStatus.RECORDED}', kind = '{MailKind.OTHER}', rule = '{INTERNAL_FAULT}', evidence = :fault,
        updated_at = now()
    WHERE id = :id
""")
_TRY_AGAIN = text(f"""
    UPDATE messages
    SET status = '{MessageStatus.PENDING}', kind = NULL, rule = NULL, evidence = NULL, updated_at = now()
    WHERE rule = '{INTERNAL_FAULT}' AND status = '{MessageStatus.RECORDED}'
      AND (CAST(:mailbox AS uuid) IS NULL OR mailbox_id = :mailbox)
    RETURNING mailbox_id
""")


def try_again(session: Session, *, mailbox_id: UUID | None) -> set[UUID]:
    """Makes the mails pending again that could not be recorded. Returns the mailboxes that have some."""
    return set(session.scalars(_TRY_AGAIN, {"mailbox": mailbox_id}))


def _record_pending(session: Session, mailbox_id: UUID, pending: Sequence[Pending], now: datetime) -> None:
    found = judged(session, mails=pending, now=now)
    unrelated = [mail for mail in pending if mail.id not in found]
    forget(session, message_ids=[mail.id for mail in unrelated])
    places = [UnrelatedPlace(mail.folder, mail.uidvalidity, mail.uid, mail.hash) for mail in unrelated]
    reading.pass_over(session, mailbox_id=mailbox_id, places=places)
    record(session, mails=list(found.values()), now=now)


def judged(session: Session, *, mails: Sequence[Mail], now: datetime) -> dict[UUID, Judged]:
    """Returns message -> what the rules make of it, for those that belong to somebody."""
    from db.domain.mail.judge import judge  # noqa: PLC0415  a server starts without its patterns, which take long

    own_addresses = matching.own_addresses(session)
    own_ids = matching.own_among(session, internet_message_ids=(mail.internet_message_id for mail in mails))
    parsed = {mail.id: parse_mail(mail.raw) for mail in mails if mail.internet_message_id not in own_ids}
    verdicts = {id_: judge(mail, today=now.date()) for id_, mail in parsed.items()}
    asked = [_asked(mail, verdicts[id_], own_addresses) for id_, mail in parsed.items()]
    matches = dict(zip(parsed, matching.find(session, asked=asked, now=now), strict=True))
    ours = {id_ for id_, mail in parsed.items() if mail.sender.address in own_addresses}
    to_them = _to_their_people(session, parsed, matches, ours)
    found: dict[UUID, Judged] = {}
    for mail in mails:
        match = matches.get(mail.id)
        if match is None or (mail.id in ours and mail.id not in to_them):
            continue
        verdict = verdicts[mail.id]
        if match.is_guess and verdict.kind in _OF_NOBODY:
            continue
        kind = MailKind.OWNER_WROTE if mail.id in ours else verdict.kind
        sender = parsed[mail.id].sender.address
        found[mail.id] = Judged(
            mail.id, mail.occurred_at, sender, kind, match, verdict.recipients, verdict.until, verdict
        )
    return found


def _asked(mail: ParsedMail, verdict: Verdict, own_addresses: set[str]) -> Asked:
    """Returns by what the person of a mail is looked for: by the mails that it is about, then by its sender, or by the
    addresses that it returns or that complain."""
    references = references_of(mail)
    if verdict.kind in (MailKind.BOUNCE, MailKind.COMPLAINT):
        return Asked(references, [recipient.address for recipient in verdict.recipients if recipient.address])
    recipients = [address.address for address in (*mail.to, *mail.cc) if address.address]
    return matching.asked_of(references, mail.sender.address, recipients, own_addresses, token_in(mail.subject))


def _to_their_people(
    session: Session, parsed: Mapping[UUID, ParsedMail], matches: Mapping[UUID, Match | None], ours: Iterable[UUID]
) -> set[UUID]:
    """Returns those of our own mails that go to the person of their thread, and not, say, to a colleague."""
    sent = {id_: match for id_ in ours if (match := matches[id_]) is not None}
    people = {match.contact_id for match in sent.values()}
    known = opt_outs.addresses_of(session, contact_ids=people) if people else []
    addresses = {(entry.contact_id, entry.address.lower()) for entry in known}
    return {
        id_
        for id_, match in sent.items()
        if any((match.contact_id, address.address) in addresses for address in (*parsed[id_].to, *parsed[id_].cc))
    }


_SAVE = text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(
            id uuid, instance_id uuid, enrollment_id uuid, thread_id uuid, direction text, kind text, bounce text,
            rule text, evidence text, rules_version int, findings text[], return_on date, is_guess bool, body text)
    ), saved AS (
        UPDATE messages m
        SET instance_id = w.instance_id, enrollment_id = w.enrollment_id, thread_id = w.thread_id,
            direction = w.direction, status = '{MessageStatus.RECORDED}', kind = w.kind, bounce = w.bounce,
            rule = w.rule, evidence = w.evidence, rules_version = w.rules_version, findings = w.findings,
            return_on = w.return_on, is_guess = w.is_guess, updated_at = now()
        FROM given w WHERE m.id = w.id
    )
    UPDATE message_bodies b SET body = w.body FROM given w WHERE b.message_id = w.id
""")


def record(session: Session, *, mails: Sequence[Judged], now: datetime) -> None:
    """Records mails that were judged: their messages, their threads, and what they do."""
    if not mails:
        return
    # People before their enrollments, as everybody locks them.
    opt_outs.lock_addresses(session, contact_ids={mail.match.contact_id for mail in mails})
    _find_threads(session, mails)
    session.execute(_SAVE, rows_parameter([_row(mail) for mail in mails]))
    effects.apply(session, mails=mails, now=now)
    # After the enrollments, as everybody locks them.
    threads.note_came_back(session, message_ids={id_ for mail in mails if (id_ := mail.match.message_id) is not None})
    opens: dict[UUID, bool] = {}
    for mail in mails:
        if mail.match.thread_id is not None:
            is_human = mail.kind is MailKind.HUMAN
            opens[mail.match.thread_id] = is_human or opens.get(mail.match.thread_id, False)
    threads.refresh(session, thread_ids=opens)
    reply_rows.outdate(session, thread_ids=opens)


def _find_threads(session: Session, mails: Sequence[Judged]) -> None:
    """Gives each mail the thread of the message that it answers. A step begins one when it is answered before anybody
    has reported it as sent."""
    answered = {mail.match.message_id for mail in mails if mail.match.thread_id is None}
    begun = threads.join_sent(session, message_ids={id_ for id_ in answered if id_ is not None})
    for mail in mails:
        if mail.match.thread_id is None and mail.match.message_id is not None:
            mail.match = mail.match._replace(thread_id=begun.get(mail.match.message_id))


def _row(mail: Judged) -> dict[str, Any]:
    verdict, match = mail.verdict, mail.match
    assert verdict is not None, "the rules have judged it"
    is_ours = mail.kind is MailKind.OWNER_WROTE
    return {
        "id": mail.id,
        "instance_id": match.campaign_id,
        "enrollment_id": match.enrollment_id,
        "thread_id": match.thread_id,
        "direction": MessageDirection.OUT if is_ours else MessageDirection.IN,
        "kind": mail.kind,
        "bounce": mail.bounce,
        "rule": None if is_ours else verdict.reason.rule[:MAIL_RULE_MAX] or None,
        "evidence": None if is_ours else storable_part(verdict.reason.evidence)[:MAIL_EVIDENCE_MAX] or None,
        "rules_version": verdict.version,
        "findings": [str(finding) for finding in verdict.findings],
        "return_on": mail.until,
        "is_guess": match.is_guess and not is_ours,
        "body": storable_part(verdict.text),
    }


_FORGET = text(
    "DELETE FROM messages WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))"
)


def forget(session: Session, *, message_ids: Sequence[UUID]) -> None:
    """Deletes messages with their bodies."""
    if message_ids:
        session.execute(_FORGET, rows_parameter(list(message_ids)))
