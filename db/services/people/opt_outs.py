"""Opt-outs: what a person asks for holds for every address that the person has or had.

A contact's row has the email and the profile that are written to. Addresses that it had before, and those that a call
gave besides, are in contact_addresses: they find nobody and are never written to, but an opt-out is looked up and kept
under each.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.addresses import PROFILE_PREFIX
from db.domain.contacts import CONSENT, SuppressionTarget, strength
from db.domain.states import SuppressionReason
from db.postgres.json import rows_parameter
from db.services.people import suppression_rows
from db.services.people.suppression_rows import OWN_WISH
from db.services.secrets import ADDRESS_HASH, ERASURE_KEY

ANOTHER_ADDRESS = "another address of the person"
"""The source of a suppression that follows the person from one address to another."""

_PEOPLE = """
    SELECT c.id, c.email, c.linkedin_url FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS n(id)
    JOIN contacts c ON c.id = CAST(n.id AS uuid)
"""
# The address of an erased person is stored as its hash, and is not written down again.
_ADDRESSES = text(f"""
    WITH {ERASURE_KEY},
    people AS MATERIALIZED ({_PEOPLE})
    SELECT id, address, is_present FROM (
        SELECT id, email AS address, true AS is_present FROM people WHERE email IS NOT NULL
        UNION ALL SELECT id, linkedin_url, true FROM people WHERE linkedin_url IS NOT NULL
        UNION ALL
        (SELECT p.id, b.address, false FROM people p JOIN LATERAL (
            SELECT address FROM contact_addresses WHERE contact_id = p.id
            UNION
            SELECT lower(x.sent_to) FROM campaign_enrollments e
            JOIN campaign_actions x ON x.instance_id = e.instance_id AND x.enrollment_id = e.id
            WHERE e.contact_id = p.id AND x.sent_to IS NOT NULL
        ) b ON b.address IS DISTINCT FROM p.email AND b.address IS DISTINCT FROM lower(p.linkedin_url))
    ) a
    WHERE NOT EXISTS (SELECT FROM k JOIN suppressions s ON s.address_hash = {ADDRESS_HASH.format(address="a.address")})
""")


class Address(NamedTuple):
    """An address that a person has (`is_present`), or had or gave besides."""

    contact_id: UUID
    address: str
    is_present: bool

    @property
    def is_email(self) -> bool:
        return not self.address.startswith(PROFILE_PREFIX)

    @property
    def target(self) -> SuppressionTarget:
        """The address as it is suppressed."""
        return SuppressionTarget(email=self.address) if self.is_email else SuppressionTarget(linkedin_url=self.address)


def addresses_of(session: Session, *, contact_ids: Iterable[UUID]) -> list[Address]:
    """Returns every address of these people, except erased ones."""
    return [Address(*row) for row in session.execute(_ADDRESSES, rows_parameter(list(contact_ids)))]


def add_for_contacts(
    session: Session,
    *,
    reasons: Mapping[UUID, SuppressionReason],
    source: str,
    besides_only: bool = False,
    bounced_at: Mapping[UUID, str] | None = None,
) -> None:
    """Suppresses the addresses of contacts (id -> reason) for good. A suppression with a stronger reason stays.

    A dead mailbox says nothing of the person's other addresses; an opt-out holds for all of them. `besides_only`:
    leaves out the addresses in the contact's own row. `bounced_at`: for a bounce, the address that the mail was sent
    to, if known; else it is today's.
    """
    if not reasons:
        return
    strongest: dict[SuppressionTarget, SuppressionReason] = {}
    bounced_at = bounced_at or {}
    addresses = addresses_of(session, contact_ids=reasons)
    sure = {entry.contact_id for entry in addresses if entry.address == bounced_at.get(entry.contact_id)}
    for entry in addresses:
        reason = reasons[entry.contact_id]
        is_meant = entry.address == bounced_at[entry.contact_id] if entry.contact_id in sure else entry.is_present
        if reason is SuppressionReason.BOUNCED and not (entry.is_email and is_meant):
            continue
        if not (besides_only and entry.is_present):
            known = strongest.get(entry.target)
            strongest[entry.target] = reason if known is None else max(known, reason, key=strength)
    suppression_rows.write(session, reasons=strongest, source=source, expires_at=None)


_LOCK_PEOPLE = text("""
    SELECT id, email, linkedin_url FROM contacts
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))) AND erased_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
""")


def lock_addresses(session: Session, *, contact_ids: Iterable[UUID]) -> dict[UUID, tuple[str | None, str | None]]:
    """Returns the email and the profile of these contacts, and keeps their rows locked, so that no opt-out comes in
    between before their addresses change. Leaves out erased people."""
    rows = session.execute(_LOCK_PEOPLE, rows_parameter(list(contact_ids)))
    return {contact_id: (email, linkedin_url) for contact_id, email, linkedin_url in rows}


_KEEP = text("""
    INSERT INTO contact_addresses (contact_id, address)
    SELECT contact_id, address FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(contact_id uuid, address text)
    ORDER BY contact_id, address
    ON CONFLICT DO NOTHING RETURNING contact_id
""")


def keep_besides(session: Session, *, addresses: Mapping[UUID, Iterable[str]]) -> set[UUID]:
    """Stores addresses that people had, or gave besides their own (contact -> addresses, in lower case). Returns the
    people for whom one was new."""
    rows = [
        {"contact_id": contact_id, "address": address}
        for contact_id, theirs in addresses.items()
        for address in sorted(theirs)
    ]
    return set(session.execute(_KEEP, rows_parameter(rows)).scalars()) if rows else set()


# What suppresses a person by an address outside the contact's row: an opt-out, or an erasure.
BESIDES = f"""
    SELECT s.id, s.reason, s.expires_at FROM contact_addresses a JOIN suppressions s ON s.email = a.address
    WHERE a.contact_id = {{contact}} AND s.{OWN_WISH}
    UNION ALL
    SELECT s.id, s.reason, s.expires_at FROM contact_addresses a
    JOIN suppressions s ON lower(s.linkedin_url) = a.address WHERE a.contact_id = {{contact}} AND s.{OWN_WISH}
    UNION ALL
    SELECT s.id, s.reason, s.expires_at FROM contact_addresses a CROSS JOIN k
    JOIN suppressions s ON s.address_hash = {ADDRESS_HASH.format(address="a.address")} WHERE a.contact_id = {{contact}}
"""
# Whether an address besides is one of the contact's own in another spelling, as somebody else has it. It is none any
# more once the contact has another address.
IS_SHARED = """
    a.same_as IS NOT NULL
    AND EXISTS (SELECT FROM contacts o WHERE o.id = a.contact_id AND a.same_as IN (o.email, lower(o.linkedin_url)))
"""
# What suppresses a person by another spelling of an address in the contact's row, for any reason.
SHARED = f"""
    SELECT s.id, s.reason, s.expires_at FROM contact_addresses a JOIN suppressions s ON s.email = a.address
    WHERE a.contact_id = {{contact}} AND {IS_SHARED}
    UNION ALL
    SELECT s.id, s.reason, s.expires_at FROM contact_addresses a
    JOIN suppressions s ON s.domain = split_part(a.address, '@', 2) WHERE a.contact_id = {{contact}} AND {IS_SHARED}
    UNION ALL
    SELECT s.id, s.reason, s.expires_at FROM contact_addresses a
    JOIN suppressions s ON lower(s.linkedin_url) = a.address WHERE a.contact_id = {{contact}} AND {IS_SHARED}
"""
_WISHES = text(f"""
    WITH {ERASURE_KEY},
    people AS MATERIALIZED ({_PEOPLE})
    SELECT p.id, s.reason, s.is_wish FROM people p JOIN LATERAL (
        SELECT reason, {OWN_WISH} AS is_wish FROM suppressions WHERE email = p.email
        UNION ALL
        SELECT reason, {OWN_WISH} FROM suppressions WHERE lower(linkedin_url) = lower(p.linkedin_url)
        UNION ALL
        SELECT reason, true FROM k JOIN suppressions s ON s.address_hash IN
            ({ADDRESS_HASH.format(address="p.email")}, {ADDRESS_HASH.format(address="p.linkedin_url")})
        UNION ALL
        SELECT reason, true FROM ({BESIDES.format(contact="p.id")}) besides
    ) s ON s.is_wish
""")


def of_people(session: Session, *, contact_ids: Sequence[UUID]) -> dict[UUID, SuppressionReason]:
    """Returns which of these people asked not to be written to, or were erased, by any address that they have or
    had."""
    if not contact_ids:
        return {}
    found: dict[UUID, SuppressionReason] = {}
    for contact_id, reason, _ in session.execute(_WISHES, rows_parameter(list(contact_ids))):
        # An erased person may have another reason; the erasure itself counts as an opt-out.
        wish = SuppressionReason(reason) if reason in CONSENT else SuppressionReason.UNSUBSCRIBED
        found[contact_id] = wish
    return found


_CONSENTS = text(f"""
    WITH people AS MATERIALIZED ({_PEOPLE})
    SELECT p.id, max(k.given_at) FROM people p JOIN LATERAL (
        SELECT given_at FROM consents WHERE address IN (p.email, lower(p.linkedin_url))
        UNION ALL
        SELECT given_at FROM contact_addresses a JOIN consents USING (address) WHERE a.contact_id = p.id
    ) k ON k.given_at IS NOT NULL
    GROUP BY p.id
""")


def consents_of(session: Session, *, contact_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """Returns when these people last asked to be written to again, by any address that they have or had."""
    if not contact_ids:
        return {}
    return dict(tuple(row) for row in session.execute(_CONSENTS, rows_parameter(list(contact_ids))))


_CONSENT = text("""
    INSERT INTO consents AS known (address, given_at) VALUES (lower(:address), :now)
    ON CONFLICT (address) DO UPDATE
    SET given_at = greatest(coalesce(known.given_at, excluded.given_at), excluded.given_at)
""")
# By the address itself, or by any other of the person who has it.
_CONSENT_OF = text("""
    WITH person AS MATERIALIZED (SELECT id, email, linkedin_url FROM contacts WHERE lower(email) = :address)
    SELECT max(k.given_at) FROM (
        SELECT given_at FROM consents WHERE address = :address
        UNION ALL
        SELECT given_at FROM person p JOIN consents ON address = lower(p.linkedin_url)
        UNION ALL
        SELECT given_at FROM person p JOIN contact_addresses a ON a.contact_id = p.id JOIN consents USING (address)
    ) k
""")
_WORKS = text("""
    INSERT INTO consents AS known (address, works_at) VALUES (lower(:address), :now)
    ON CONFLICT (address) DO UPDATE
    SET works_at = greatest(coalesce(known.works_at, excluded.works_at), excluded.works_at)
""")
_WORKING = text("""
    SELECT address, works_at FROM consents
    WHERE address = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb)))) AND works_at IS NOT NULL
""")


def consent(session: Session, *, address: str, now: datetime) -> None:
    """Stores that the person of an address asked to be written to again: no earlier event suppresses it any more."""
    session.execute(_CONSENT, {"address": address, "now": now})


def consent_of(session: Session, *, address: str) -> datetime | None:
    """Returns when the person of this address last asked to be written to again."""
    return session.scalar(_CONSENT_OF, {"address": address})


def note_working(session: Session, *, address: str, now: datetime) -> None:
    """Stores that somebody lifted a bounce of this address: no bounce from before suppresses it any more."""
    session.execute(_WORKS, {"address": address, "now": now})


def working_since(session: Session, *, addresses: Iterable[str]) -> dict[str, datetime]:
    """Returns address -> when somebody last lifted a bounce of it, of those for which somebody did."""
    asked = sorted(set(addresses))
    return dict(tuple(row) for row in session.execute(_WORKING, rows_parameter(asked))) if asked else {}
