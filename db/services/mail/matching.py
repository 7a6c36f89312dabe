"""Finds whose a mail is that came in: by the Message-IDs that it refers to, by the token of a mail that it unsubscribes
from, or by an address.

A reference and a token are exact. An address is a guess: the person may write about anything.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain.mail.envelope import Envelope
from db.domain.states import Channel, MessageDirection, ThreadState
from db.models import Mailbox
from db.postgres.json import rows_parameter
from db.services import secrets
from db.services.secrets import SecretName
from db.services.texts import unsubscribe_links

OPEN_DAYS: Final = 90
"""How long after its latest message a thread is one that an address can belong to."""
REFERENCES_MOST: Final = 50
_ADDRESSES_MOST: Final = 20


class Match(NamedTuple):
    """Whose a mail is. message_id: of our message that it answers. step_number: of that message, if it is a step's.

    is_guess: it was found by an address alone.
    """

    campaign_id: UUID
    enrollment_id: UUID
    contact_id: UUID
    thread_id: UUID | None
    message_id: UUID | None = None
    action_id: UUID | None = None
    step_number: int | None = None
    is_guess: bool = False


class Asked(NamedTuple):
    """By what a mail is looked for: Message-IDs, the latest last; then a token to unsubscribe by; then addresses, in
    lower case."""

    refers_to: Sequence[str] = ()
    addresses: Sequence[str] = ()
    token: str | None = None


_BY_REFERENCE = text(f"""
    SELECT w.n, found.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(n int, ids text[])
    CROSS JOIN LATERAL (
        SELECT m.instance_id, m.enrollment_id, e.contact_id, m.thread_id, m.id, m.action_id, a.step_number
        FROM unnest(w.ids) WITH ORDINALITY AS r(id, place)
        CROSS JOIN LATERAL (
            SELECT * FROM messages WHERE internet_message_id = r.id AND enrollment_id IS NOT NULL
            ORDER BY (direction = '{MessageDirection.OUT}') DESC, id DESC LIMIT 1
        ) m
        JOIN campaign_enrollments e ON e.instance_id = m.instance_id AND e.id = m.enrollment_id
        LEFT JOIN campaign_actions a ON a.instance_id = m.instance_id AND a.id = m.action_id
        ORDER BY r.place DESC LIMIT 1
    ) found
""")
_BY_ADDRESS = text(f"""
    SELECT w.n, found.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(n int, addresses text[])
    CROSS JOIN LATERAL (
        SELECT t.instance_id, t.enrollment_id, t.contact_id, t.id FROM (
            SELECT c.id FROM unnest(w.addresses) AS a(address)
            CROSS JOIN LATERAL (SELECT id FROM contacts WHERE lower(email) = a.address LIMIT 1) c
            UNION
            SELECT c.contact_id FROM unnest(w.addresses) AS a(address)
            CROSS JOIN LATERAL (
                SELECT contact_id FROM contact_addresses WHERE address = a.address ORDER BY contact_id LIMIT 20
            ) c
        ) c
        CROSS JOIN LATERAL (
            SELECT * FROM threads t
            WHERE t.contact_id = c.id AND t.state <> '{ThreadState.CLOSED}'
              AND t.last_message_at >= CAST(:since AS timestamptz)
            ORDER BY t.last_message_at DESC, t.id DESC LIMIT 1
        ) t
        ORDER BY t.last_message_at DESC, t.id DESC LIMIT 1
    ) found
""")


_BY_TOKEN = text(f"""
    SELECT w.n, e.instance_id, e.id, e.contact_id, m.thread_id, m.id, m.action_id, a.step_number
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(n int, enrollment_id uuid, step_number int)
    JOIN campaign_enrollments e ON e.id = w.enrollment_id
    LEFT JOIN campaign_actions a
      ON a.instance_id = e.instance_id AND a.enrollment_id = e.id AND a.step_number = w.step_number
    LEFT JOIN messages m ON m.action_id = a.id AND m.direction = '{MessageDirection.OUT}'
""")


def find(session: Session, *, asked: Sequence[Asked], now: datetime) -> list[Match | None]:
    """Returns whose each mail is: of several references, the latest that is known here counts; without any, a token, or
    an address in an open thread. None if nobody is found."""
    found: dict[int, Match] = {}
    references = [{"n": n, "ids": mail.refers_to[-REFERENCES_MOST:]} for n, mail in enumerate(asked) if mail.refers_to]
    for n, *row in session.execute(_BY_REFERENCE, rows_parameter(references)) if references else ():
        found[n] = Match(*row)
    tokens = {n: mail.token for n, mail in enumerate(asked) if n not in found and mail.token is not None}
    for n, *row in _of_tokens(session, tokens) if tokens else ():
        found[n] = Match(*row)
    addresses = [
        {"n": n, "addresses": mail.addresses[:_ADDRESSES_MOST]}
        for n, mail in enumerate(asked)
        if n not in found and mail.addresses
    ]
    values = {**rows_parameter(addresses), "since": now - timedelta(days=OPEN_DAYS)}
    for n, *row in session.execute(_BY_ADDRESS, values) if addresses else ():
        found[n] = Match(*row, is_guess=True)
    return [found.get(n) for n in range(len(asked))]


def _of_tokens(session: Session, tokens: Mapping[int, str]) -> Iterable[Sequence[Any]]:
    """Returns the number, and whose it is, of each token that this server has signed."""
    key = secrets.find(session, name=SecretName.UNSUBSCRIBE)
    if key is None:
        return ()
    links = {n: unsubscribe_links.read(key, token) for n, token in tokens.items()}
    rows = [
        {"n": n, "enrollment_id": link.enrollment_id, "step_number": link.step_number}
        for n, link in links.items()
        if link is not None
    ]
    return session.execute(_BY_TOKEN, rows_parameter(rows)).all() if rows else ()


_OWN_IDS = text(f"""
    SELECT DISTINCT m.internet_message_id FROM messages m
    WHERE m.internet_message_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb))))
      AND m.direction = '{MessageDirection.OUT}'
""")


def own_among(session: Session, *, internet_message_ids: Iterable[str]) -> set[str]:
    """Returns those of these Message-IDs that our own mails have."""
    ids = sorted({id_ for id_ in internet_message_ids if id_})
    return set(session.scalars(_OWN_IDS, rows_parameter(ids))) if ids else set()


def own_addresses(session: Session) -> set[str]:
    """Returns the addresses of all mailboxes."""
    return set(session.scalars(select(Mailbox.address)))


def asked_of(
    refers_to: Sequence[str],
    sender: str,
    recipients: Sequence[str],
    own_addresses: Collection[str],
    token: str | None = None,
) -> Asked:
    """Returns by what a mail is looked for. Its person is its sender; of a mail of our own, its recipient."""
    if sender not in own_addresses:
        return Asked(refers_to, [sender] if sender else [], token)
    return Asked(refers_to, [address for address in recipients if address not in own_addresses])


def wanted(session: Session, *, envelopes: Sequence[Envelope], now: datetime) -> list[bool]:
    """Returns for each mail whether its body is needed: it answers a mail of ours, comes from or goes to somebody in an
    open thread, or may report on a mail of ours. Copies of mails that we know are not."""
    ours, addresses = own_among(session, internet_message_ids=_ids(envelopes)), own_addresses(session)
    asked = [
        asked_of(mail.refers_to, mail.sender, mail.recipients, addresses, mail.unsubscribe_token) for mail in envelopes
    ]
    found = find(session, asked=asked, now=now)
    return [
        mail.internet_message_id not in ours and (mail.is_report or match is not None)
        for mail, match in zip(envelopes, found, strict=True)
    ]


def _ids(envelopes: Sequence[Envelope]) -> Iterable[str]:
    return (mail.internet_message_id for mail in envelopes)


_OLDEST = text(f"""
    SELECT min(occurred_at) FROM messages
    WHERE direction = '{MessageDirection.OUT}' AND channel = '{Channel.EMAIL}' AND occurred_at >= :since
      AND (mailbox_id IS NULL OR mailbox_id = :mailbox)
""")


def oldest_sent(session: Session, *, mailbox_id: UUID, since: datetime) -> datetime | None:
    """Returns when the oldest mail since then went out that this mailbox may have an answer to: its own, or one that an
    agent sent."""
    values: dict[str, Any] = {"mailbox": mailbox_id, "since": since}
    return session.scalar(_OLDEST, values)
