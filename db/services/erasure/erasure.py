"""Erasure: the personal data of one person is removed from every table, and a keyed hash keeps the person suppressed.

What counts stays: enrollments, actions and events with their times and types, and every counter. A provider's ids stay
too, because late events are counted by them and they say nothing by themselves; one that contains the person's address
is replaced by its hash.

The hash keeps everybody who sees a suppression (an answer, an export, a copy of that table) from finding out whose it
is, even by trying addresses. It does not hide it from whoever reads the whole database: the key is in `secrets`, and
with it a guessed address can be tried. Without that one row (a restore that leaves it out) erased people are not
recognised any more.

All of it is one transaction. The caller removes what the local store holds of the person after the commit, and
`erased_among` makes that repeatable: it tells of any address whether it belonged to an erased person.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.addresses import addresses_in
from db.domain.contacts import CONTACT_FIELDS, ContactFields, SuppressionTarget
from db.domain.enrollment import Enrollment
from db.domain.errors import NotFound
from db.domain.events import Stop
from db.domain.ids import new_ids
from db.domain.states import EnrollmentCommand, StopReason, SuppressionReason
from db.postgres.json import rows_parameter
from db.services import secrets
from db.services.erasure.bodies import drop_bodies, spellings
from db.services.erasure.rows import (
    CLEAN_ACTIONS,
    CLEAN_COPIES,
    CLEAN_DRAFT_COPIES,
    CLEAN_ENROLLMENTS,
    CLEAN_EVENTS,
    CLEAN_MESSAGES,
    CLEAN_ORPHANS,
    DROP_DRAFTS,
    DROP_ORPHANS,
    DROP_PENDING,
    DROP_THREADS,
    DROP_WORDS,
)
from db.services.people import contacts, opt_outs
from db.services.people.opt_outs import IS_SHARED
from db.services.people.suppression_rows import STRENGTH
from db.services.people.suppressions import find_erased
from db.services.secrets import ADDRESS_HASH, ERASURE_KEY, SecretName
from db.services.state import enrollment_rows

_HINT = "find_contacts shows the people there are; nothing is kept of this one."


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done. `contact_id` is None if the address belonged to no contact.

    `addresses` are those by which the person could be found; they are for the local store, and for nobody else.
    """

    contact_id: UUID | None
    erased_at: datetime
    was_erased_before: bool
    stopped_enrollments: int = 0
    events: int = 0
    orphaned_events: int = 0
    suppressions: int = 0
    kept_answers: int = 0
    webhook_bodies: int = 0
    messages: int = 0
    addresses: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(slots=True)
class _Person:
    """The person, locked. `is_placeholder`: the row was made to hold the address, and is deleted again."""

    contact_id: UUID
    erased_at: datetime | None
    is_placeholder: bool
    addresses: list[str] = field(repr=False)


def erase(
    session: Session,
    *,
    contact_id: UUID | None = None,
    target: SuppressionTarget | None = None,
    even_if_unknown: bool = False,
    now: datetime,
) -> Erased:
    """Erases the person of `contact_id`, or of an email or LinkedIn profile. It can't be undone.

    Another contact with one of the person's addresses in another spelling is the same person, and is erased too. Open
    enrollments stop. Erasing again is answered, and cleans what has come in since. NotFound if nothing is kept of
    the person, unless `even_if_unknown`, which suppresses the address all the same.
    """
    # An erasure is rare, and two of the tables that it searches have no index for it.
    session.execute(text("SET LOCAL statement_timeout = '5min'"))
    secrets.make(session, name=SecretName.ERASURE)
    before = None if target is None else find_erased(session, target)
    person = _lock_person(session, contact_id, target)
    others = session.scalars(_SHARING, {"id": person.contact_id}).all()
    answers = _drop_answers(session, person)  # the longest search comes before anybody's events have to wait
    bodies = drop_bodies(session, contact_id=person.contact_id, addresses=person.addresses)
    enrollments = _lock_enrollments(session, person)
    unchanged = enrollment_rows.snapshot(enrollments)
    is_open = [enrollment for enrollment in enrollments if enrollment.is_open]
    for enrollment in is_open:
        enrollment.stop(Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.SUPPRESSED))
    values = _values(person, enrollments)
    orphaned = _clean_orphans(session, frozenset(person.addresses), values)
    _run(session, CLEAN_ACTIONS, values)
    _run(session, CLEAN_MESSAGES, values)
    words = _run(session, DROP_WORDS, values) + _run(session, DROP_PENDING, values)
    _run(session, DROP_THREADS, values)
    _run(session, DROP_DRAFTS, values)
    _run(session, CLEAN_COPIES, values)
    _run(session, CLEAN_DRAFT_COPIES, values)
    cleaned = _run(session, CLEAN_EVENTS, values)
    replaced = _replace_suppressions(session, person) + _drop_exclusions(session, person)
    if person.is_placeholder and before is None and not (orphaned or replaced or answers or bodies or even_if_unknown):
        raise NotFound("person of this", target.kind if target else "contact_id", hint=_HINT)
    _run(session, CLEAN_ENROLLMENTS, values)
    _drop_addresses(session, person)
    _clear_contact(session, person, now)
    enrollment_rows.save(session, before=unchanged, after=enrollments)
    done = Erased(
        contact_id=None if person.is_placeholder else person.contact_id,
        erased_at=person.erased_at or (before.created_at if before and person.is_placeholder else now),
        was_erased_before=person.erased_at is not None or (before is not None and person.is_placeholder),
        stopped_enrollments=len(is_open),
        events=cleaned,
        orphaned_events=orphaned,
        suppressions=replaced,
        kept_answers=answers,
        webhook_bodies=bodies,
        messages=words,
        addresses=frozenset(person.addresses),
    )
    for other in others:
        done = _sum(done, erase(session, contact_id=other, now=now))
    return done


def _sum(done: Erased, other: Erased) -> Erased:
    names = [part.name for part in fields(Erased) if part.type is int]
    sums = {name: getattr(done, name) + getattr(other, name) for name in names}
    return replace(done, addresses=done.addresses | other.addresses, **sums)


_SHARING = text(f"""
    SELECT DISTINCT c.id FROM contact_addresses a
    JOIN contacts c ON lower(c.email) = a.address OR lower(c.linkedin_url) = a.address
    WHERE a.contact_id = :id AND c.id <> :id AND {IS_SHARED} ORDER BY c.id
""")


# The last person who had it, if nobody has it now.
_WHO_HAD = text("SELECT contact_id FROM contact_addresses WHERE address = :address ORDER BY contact_id DESC LIMIT 1")
_BESIDES = text("""
    SELECT address FROM contact_addresses WHERE contact_id = :id
    UNION
    SELECT a.sent_to FROM campaign_enrollments e
    JOIN campaign_actions a ON a.instance_id = e.instance_id AND a.enrollment_id = e.id
    WHERE e.contact_id = :id AND a.sent_to IS NOT NULL
""")
_LOCK_PERSON = text("SELECT email, linkedin_url, erased_at FROM contacts WHERE id = :id FOR UPDATE")


def _lock_person(session: Session, contact_id: UUID | None, target: SuppressionTarget | None) -> _Person:
    """Returns the person, locked first, as a suppression does it: an enrollment under way is stopped here, or sees what
    is done here.

    If nobody has the address, a row is made that holds it to the end of the transaction: whoever enrolls the same
    person at this moment waits for it.
    """
    is_new = False
    if contact_id is None:
        assert target is not None, "the caller gives an id or an address"
        fields = {0: ContactFields(email=target.email, linkedin_url=target.linkedin_url)}
        found = contacts.find_or_create(session, people=fields, overwrite=False)[0]
        if found.contact_id is None:  # erased by another call between two of its statements
            found = contacts.find_or_create(session, people=fields, overwrite=False)[0]
        contact_id, is_new = found.contact_id, found.is_new
        if is_new and (had := session.scalar(_WHO_HAD, {"address": target.value.lower()})) is not None:
            session.execute(_REMOVE, {"id": contact_id})
            contact_id, is_new = had, False
    row = None if contact_id is None else session.execute(_LOCK_PERSON, {"id": contact_id}).one_or_none()
    if row is None or contact_id is None:
        raise NotFound("contact", contact_id or "of this address", hint=_HINT)
    email, linkedin_url, erased_at = row
    besides = session.scalars(_BESIDES, {"id": contact_id})
    addresses = {
        address.lower() for address in (email, linkedin_url, target.value if target else None, *besides) if address
    }
    return _Person(contact_id, erased_at, is_new, sorted(addresses))


_LOCK_ENROLLMENTS = text(f"""
    SELECT {enrollment_rows.COLUMNS} FROM campaign_enrollments e
    WHERE e.contact_id = :contact ORDER BY e.instance_id, e.id FOR NO KEY UPDATE OF e
""")


def _lock_enrollments(session: Session, person: _Person) -> list[Enrollment]:
    rows = session.execute(_LOCK_ENROLLMENTS, {"contact": person.contact_id})
    return [enrollment_rows.from_row(row) for row in rows]


def _values(person: _Person, enrollments: Sequence[Enrollment]) -> dict[str, Any]:
    keys = [{"instance_id": enrollment.campaign_id, "id": enrollment.id} for enrollment in enrollments]
    known = [{"address": address} for address in person.addresses]
    return {**rows_parameter(keys), "known": rows_parameter(known)["rows"]}


def _run(session: Session, statement: Any, values: dict[str, Any]) -> int:  # noqa: ANN401  text() with a RETURNING
    return len(session.execute(statement, values).all())


_TELLING = text("SELECT id, metadata::text FROM orphaned_events WHERE metadata <> '{}'")


def _clean_orphans(session: Session, known: frozenset[str], values: dict[str, Any]) -> int:
    dropped = _run(session, DROP_ORPHANS, values)
    waiting = session.execute(_TELLING).yield_per(1_000)
    mentioning = [id_ for id_, details in waiting if not known.isdisjoint(addresses_in(details))]
    return dropped + _run(session, CLEAN_ORPHANS, {**values, "mentioning": rows_parameter(mentioning)["rows"]})


_ANSWERS = text("""
    WITH known AS MATERIALIZED (SELECT jsonb_array_elements_text(CAST(:rows AS jsonb)) AS mention)
    SELECT key, response FROM (SELECT key, lower(response::text) AS response FROM idempotency_keys OFFSET 0) kept
    WHERE EXISTS (SELECT FROM known WHERE position(mention in response) > 0 OR position(mention in lower(key)) > 0)
""")
# The key stays without an answer and without the hash of the arguments, and refuses a repetition; a key that contains
# an address can't stay.
_DROP_ANSWERS = text("""
    UPDATE idempotency_keys SET response = NULL, request_hash = ''
    WHERE key = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb))))
""")
_DROP_KEYS = text("""
    DELETE FROM idempotency_keys WHERE key = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb))))
""")


def _drop_answers(session: Session, person: _Person) -> int:
    """Deletes the stored answers of calls that mention the person. Returns how many."""
    addresses, id_ = set(person.addresses), str(person.contact_id)
    written = {spelling.lower() for address in addresses for spelling in spellings(address)}
    found = session.execute(_ANSWERS, rows_parameter([*sorted(written), id_])).all()
    # Matches an address in a key, whatever it is joined to.
    keys = [key for key, _ in found if any(spelling in key.lower() for spelling in written)]
    told = [
        key
        for key, response in found
        if response is not None and (id_ in response or addresses & addresses_in(response))
    ]
    session.execute(_DROP_KEYS, rows_parameter(keys))
    session.execute(_DROP_ANSWERS, rows_parameter(told))
    return len({*keys, *told})


_REPLACE = text(f"""
    WITH {ERASURE_KEY},
    given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(id uuid, address text)
    ), gone AS (
        DELETE FROM suppressions s WHERE s.id IN (
            SELECT held.id FROM given g JOIN suppressions held ON held.email = g.address
            UNION ALL SELECT held.id FROM given g JOIN suppressions held ON lower(held.linkedin_url) = lower(g.address)
        ) RETURNING s.reason
    ), made AS (
        INSERT INTO suppressions (id, address_hash, reason, source)
        SELECT g.id, {ADDRESS_HASH.format(address="g.address")},
            coalesce((SELECT reason FROM gone ORDER BY {STRENGTH.format(row="gone")} DESC, reason LIMIT 1),
                     '{SuppressionReason.UNSUBSCRIBED}'), 'erasure'
        FROM given g CROSS JOIN k ORDER BY g.address
        ON CONFLICT (address_hash) WHERE address_hash IS NOT NULL DO NOTHING
    )
    SELECT count(*) FROM gone
""")


def _replace_suppressions(session: Session, person: _Person) -> int:
    """Turns the suppressions of the person's addresses into hashes, and makes those that are missing. Returns how many
    were turned."""
    ids = new_ids(len(person.addresses))
    rows = [{"id": id_, "address": address} for id_, address in zip(ids, person.addresses, strict=True)]
    return session.scalar(_REPLACE, rows_parameter(rows)) or 0


_DROP_EXCLUSIONS = text("""
    DELETE FROM campaign_exclusions WHERE address = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb))))
    RETURNING id
""")


def _drop_exclusions(session: Session, person: _Person) -> int:
    """Deletes what excludes the person from single campaigns. Returns how many; the hash holds the person in all."""
    return len(session.scalars(_DROP_EXCLUSIONS, rows_parameter(person.addresses)).all())


_DROP_CONSENTS = text("""
    DELETE FROM consents WHERE address = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb))))
""")
_DROP_ADDRESSES = text("""
    DELETE FROM contact_addresses WHERE contact_id = :id
       OR address = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb))))
    RETURNING contact_id
""")


def _drop_addresses(session: Session, person: _Person) -> None:
    """Deletes these addresses from the people who had them besides, who stay suppressed by their own addresses."""
    values = {**rows_parameter(person.addresses), "id": person.contact_id}
    session.execute(_DROP_CONSENTS, values)
    others = set(session.scalars(_DROP_ADDRESSES, values)) - {person.contact_id}
    reasons = dict.fromkeys(others, SuppressionReason.UNSUBSCRIBED)
    opt_outs.add_for_contacts(session, reasons=reasons, source="erasure")


_CLEAR = text(f"""
    UPDATE contacts
    SET {", ".join(f"{name} = DEFAULT" for name in (*CONTACT_FIELDS, "absent_from", "absent_until"))},
        erased_at = :now, updated_at = :now
    WHERE id = :id AND erased_at IS NULL
""")
_REMOVE = text("DELETE FROM contacts WHERE id = :id")


def _clear_contact(session: Session, person: _Person, now: datetime) -> None:
    if person.is_placeholder:
        session.execute(_REMOVE, {"id": person.contact_id})
    else:
        session.execute(_CLEAR, {"id": person.contact_id, "now": now})


_ERASED_AMONG = text(f"""
    SELECT n.address FROM secrets k
    CROSS JOIN jsonb_array_elements_text(CAST(:rows AS jsonb)) AS n(address)
    JOIN suppressions s ON s.address_hash = {ADDRESS_HASH.format(address="n.address")}
    WHERE k.name = '{SecretName.ERASURE}'
""")
_ASKED_AT_ONCE = 10_000


def erased_among(session: Session, *, addresses: Collection[str]) -> set[str]:
    """Returns which of these addresses belonged to an erased person."""
    asked = sorted(addresses)
    return {
        address
        for start in range(0, len(asked), _ASKED_AT_ONCE)
        for address in session.scalars(_ERASED_AMONG, rows_parameter(asked[start : start + _ASKED_AT_ONCE]))
    }
