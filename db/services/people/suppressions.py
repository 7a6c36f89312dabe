"""Suppressions: addresses that must not be written to. They are checked on enrollment, and again on each claim.

A suppression is for an email, for a LinkedIn profile, or for every email of one domain (not of its subdomains). Only
one made by hand can expire: an unsubscribe, a complaint and a bounce hold until somebody lifts them, and the address of
an erased person is held for ever, by a hash (db.services.erasure.erasure).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.domain.contacts import CONSENT, SuppressionTarget, strength
from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.events import Stop
from db.domain.ids import new_id
from db.domain.states import EnrollmentCommand, StopReason, SuppressionReason, SuppressionState
from db.models import Contact, ContactAddress, Suppression, email_domain
from db.postgres.json import rows_parameter
from db.services.paging import Page, page
from db.services.people import opt_outs
from db.services.people.opt_outs import ANOTHER_ADDRESS, BESIDES, STRENGTH, add_for_contacts
from db.services.secrets import ADDRESS_HASH, ERASURE_KEY, SecretName
from db.services.state import enrollment_rows

_COLUMNS: Mapping[str, InstrumentedAttribute[str | None]] = {
    column.key: column for column in (Suppression.email, Suppression.domain, Suppression.linkedin_url)
}


def _is_of(target: SuppressionTarget) -> ColumnElement[bool]:
    if target.linkedin_url is not None:
        return func.lower(Suppression.linkedin_url) == target.linkedin_url.lower()
    return _COLUMNS[target.kind] == target.value


def suppress(
    session: Session,
    *,
    email: str | None = None,
    domain: str | None = None,
    linkedin_url: str | None = None,
    reason: SuppressionReason,
    source: str | None,
    expires_at: datetime | None = None,
) -> tuple[Suppression, int]:
    """Suppresses one address (normalised; exactly one is given) and stops the running enrollments of its owner.

    Returns the suppression and how many enrollments stopped. Suppressing again replaces reason, source and expiry, but
    never weakens: a person's own wish stays as it was recorded, and a bounce does not become one by hand. Refused if
    one of these would get an end. The address of an erased person stays a hash.
    """
    if expires_at is not None and reason is not SuppressionReason.MANUAL:
        raise InvalidInput(
            f"expires_at goes with reason manual alone: a suppression as {reason} never ends by itself. Leave it out."
        )
    target = SuppressionTarget(email, domain, linkedin_url)
    # Locked before the row is written, so that an enrollment under way either sees the row or is stopped here.
    contact_ids = session.scalars(
        select(Contact.id).where(_concerned(target, reason)).order_by(Contact.id).with_for_update()
    ).all()
    row = find_erased(session, target) or _write(session, target, reason, source, expires_at)
    if reason in CONSENT:
        # An address in a contact's row is the contact's; an earlier one could become somebody else's.
        add_for_contacts(session, reasons=dict.fromkeys(contact_ids, reason), source=ANOTHER_ADDRESS, besides_only=True)
    return row, _stop(session, contact_ids)


def suppress_person(session: Session, *, email: str, reason: SuppressionReason, source: str) -> None:
    """Suppresses an address and, except for a bounce, the other addresses of the person who has or had it, if known."""
    suppress(session, email=email, reason=reason, source=source)
    known = session.scalars(select(Contact.id).where(_concerned(SuppressionTarget(email), reason))).all()
    add_for_contacts(session, reasons=dict.fromkeys(known, reason), source=source)


def _of(target: SuppressionTarget) -> Select[Suppression]:
    return select(Suppression).where(_is_of(target))


def _write(
    session: Session,
    target: SuppressionTarget,
    reason: SuppressionReason,
    source: str | None,
    expires_at: datetime | None,
) -> Suppression:
    values = {"reason": reason, "source": source, "expires_at": expires_at}
    added = insert(Suppression).values({"id": new_id(), target.kind: target.value, **values}).on_conflict_do_nothing()
    row = session.scalars(added.returning(Suppression)).one_or_none()
    if row is not None:
        return row
    row = session.scalars(_of(target).with_for_update().execution_options(populate_existing=True)).one_or_none()
    if row is None:  # lifted between the two statements
        return _write(session, target, reason, source, expires_at)
    if _may_replace(SuppressionReason(row.reason), reason, expires_at):
        row.reason, row.source, row.expires_at = reason, source, expires_at
    return row


def _may_replace(old: SuppressionReason, new: SuppressionReason, expires_at: datetime | None) -> bool:
    if expires_at is not None and old is not SuppressionReason.MANUAL:
        raise Refused(
            f"This address is suppressed for good, as {old}, so expires_at can't be set. Nothing was changed. "
            "Leave expires_at out, or see unsuppress, which says what lifts it."
        )
    return strength(new) > strength(old) or (strength(new) == strength(old) and old not in CONSENT)


def unsuppress(
    session: Session, *, target: SuppressionTarget, has_new_consent: bool, now: datetime | None = None
) -> Suppression:
    """Lifts the suppression of exactly this address, and returns it as it was. Enrollments that it stopped stay
    stopped.

    NotFound if there is none. Refused for a person's own wish unless `has_new_consent`, and always for an erased
    person. With `has_new_consent`, opt-outs from before `now` (the moment of the call, if left out) no longer hold when
    they are reported later.
    """
    if find_erased(session, target) is not None:
        raise Refused(
            "The person of this address was erased, and stays suppressed for ever. If they want to hear from you "
            "again, they must come to you by an address of their own that was not erased."
        )
    row = session.scalars(_of(target).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(
            "suppression of this",
            target.kind,
            hint="list_suppressions shows those there are; an address can be held by its domain or another address.",
        )
    if row.reason in CONSENT and not has_new_consent:
        raise Refused(
            f"The person asked not to be written to (reason {row.reason}, recorded {row.created_at:%Y-%m-%d}), so "
            "nothing was lifted. Only their own later wish can: a form they signed or a message they wrote since, "
            "kept where you can show it. If you hold that evidence, call unsuppress again with has_new_consent=true; "
            "if not, leave it."
        )
    if has_new_consent and target.domain is None:
        opt_outs.consent(session, address=target.value, now=now or datetime.now(UTC))
    session.delete(row)
    session.flush()  # what still suppresses the person is asked for next
    return row


def _belongs_to(target: SuppressionTarget) -> ColumnElement[bool]:
    if target.email is not None:
        return func.lower(Contact.email) == target.email
    if target.domain is not None:
        return email_domain == target.domain
    return func.lower(Contact.linkedin_url) == func.lower(target.linkedin_url)


def _concerned(target: SuppressionTarget, reason: SuppressionReason) -> ColumnElement[bool]:
    """Returns the people whom a suppression stops: the owner of the address and, for an own wish, its former owners."""
    if target.domain is not None or reason not in CONSENT:
        return _belongs_to(target)
    had = select(ContactAddress.contact_id).where(ContactAddress.address == target.value.lower())
    return or_(_belongs_to(target), Contact.id.in_(had))


_FIND_ERASED = text(f"""
    SELECT s.id FROM secrets k
    JOIN suppressions s ON s.address_hash = {ADDRESS_HASH.format(address="CAST(:address AS text)")}
    WHERE k.name = '{SecretName.ERASURE}'
""")


def find_erased(session: Session, target: SuppressionTarget) -> Suppression | None:
    """Returns the suppression of the address of an erased person."""
    if target.domain is not None:
        return None
    id_ = session.scalar(_FIND_ERASED, {"address": target.value})
    return None if id_ is None else session.get_one(Suppression, id_)


_STILL_HELD = text(f"""
    WITH {ERASURE_KEY},
    people AS MATERIALIZED (
        SELECT id, email, linkedin_url FROM contacts WHERE lower(email) = :email
        UNION SELECT id, email, linkedin_url FROM contacts WHERE lower(linkedin_url) = lower(:linkedin_url)
        UNION SELECT c.id, c.email, c.linkedin_url FROM contact_addresses a JOIN contacts c ON c.id = a.contact_id
            WHERE a.address = lower(coalesce(:email, :linkedin_url))
        UNION SELECT NULL, CAST(:email AS text), CAST(:linkedin_url AS text)
    )
    SELECT s.id FROM people p JOIN suppressions s ON s.email = p.email
    UNION SELECT s.id FROM people p JOIN suppressions s ON s.domain = split_part(p.email, '@', 2)
    UNION SELECT s.id FROM people p JOIN suppressions s ON lower(s.linkedin_url) = lower(p.linkedin_url)
    UNION SELECT s.id FROM people p CROSS JOIN LATERAL ({BESIDES.format(contact="p.id")}) s
""")


def still_holding(session: Session, *, target: SuppressionTarget, now: datetime) -> Sequence[Suppression]:
    """Returns what else keeps the person of an address from being written to: the domain, or other addresses."""
    if target.domain is not None:
        return []
    values = {"email": target.email, "linkedin_url": target.linkedin_url}
    ids = session.scalars(_STILL_HELD, values).all()
    return session.scalars(select(Suppression).where(Suppression.id.in_(ids), _holds(now))).all()


def _holds(now: datetime) -> ColumnElement[bool]:
    return or_(Suppression.expires_at.is_(None), Suppression.expires_at > now)


def _stop(session: Session, contact_ids: Sequence[UUID]) -> int:
    enrollments = enrollment_rows.lock_open_of_contacts(session, contact_ids=contact_ids)
    before = enrollment_rows.snapshot(enrollments)
    for enrollment in enrollments:
        enrollment.stop(Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.SUPPRESSED))
    enrollment_rows.save(session, before=before, after=enrollments)
    return len(enrollments)


# The secret does not exist before the first erasure; until then nothing is hashed. People are looked up one by one
# (OFFSET), because the planner does not know how few there are, and would read thousands for ten.
_SUPPRESSED = text(f"""
    WITH {ERASURE_KEY}
    SELECT DISTINCT ON (c.id) c.id, s.reason
    FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS n(id)
    CROSS JOIN LATERAL (SELECT * FROM contacts WHERE id = CAST(n.id AS uuid) OFFSET 0) c
    JOIN LATERAL (
        SELECT reason, expires_at FROM suppressions s WHERE s.email = c.email
        UNION ALL
        SELECT reason, expires_at FROM suppressions s WHERE s.domain = split_part(c.email, '@', 2)
        UNION ALL
        SELECT reason, expires_at FROM suppressions s WHERE lower(s.linkedin_url) = lower(c.linkedin_url)
        UNION ALL
        SELECT reason, expires_at FROM k JOIN suppressions s
        ON s.address_hash = {ADDRESS_HASH.format(address="c.email")}
        UNION ALL
        SELECT reason, expires_at FROM k JOIN suppressions s
        ON s.address_hash = {ADDRESS_HASH.format(address="c.linkedin_url")}
        UNION ALL
        SELECT reason, expires_at FROM ({BESIDES.format(contact="c.id")}) besides
        UNION ALL
        SELECT '{SuppressionReason.UNSUBSCRIBED}', NULL WHERE c.erased_at IS NOT NULL
    ) s ON s.expires_at IS NULL OR s.expires_at > :now
    ORDER BY c.id, {STRENGTH.format(row="s")} DESC
""")


def of_contacts(session: Session, *, contact_ids: Sequence[UUID], now: datetime) -> dict[UUID, SuppressionReason]:
    """Returns which of these contacts must not be written to at `now`, and the strongest reason why."""
    rows = session.execute(_SUPPRESSED, {**rows_parameter(list(contact_ids)), "now": now})
    return {contact_id: SuppressionReason(reason) for contact_id, reason in rows}


def list_(
    session: Session,
    *,
    reason: SuppressionReason | None,
    search: str | None,
    state: SuppressionState | None = None,
    limit: int,
    cursor: str | None,
    now: datetime | None = None,
) -> Page[Suppression]:
    """Returns suppressions, newest first: of one reason, of addresses that contain `search`, those that hold or have
    ended at `now` (needed with `state`)."""
    statement = select(Suppression)
    if reason is not None:
        statement = statement.where(Suppression.reason == reason)
    if search is not None:
        statement = statement.where(
            or_(*(func.lower(column).contains(search.lower(), autoescape=True) for column in _COLUMNS.values()))
        )
    if state is not None:
        assert now is not None, "a state is that of a moment"
        ended = Suppression.expires_at.is_not(None) & (Suppression.expires_at <= now)
        statement = statement.where(_holds(now) if state is SuppressionState.ACTIVE else ended)
    return page(session, statement, by=[Suppression.id], limit=limit, cursor=cursor, listing="suppressions")
