"""Suppressions: addresses that must not be written to. They are checked on enrollment, and again on each claim.

A suppression is for an email, for a LinkedIn profile, or for every email of one domain (not of its subdomains). Only
one made by hand can expire: an unsubscribe, a complaint and a bounce hold until somebody lifts them, and the address of
an erased person is held for ever, by a hash (db.services.erasure.erasure).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select, text, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from db.domain.contacts import CONSENT, SuppressionTarget, strength
from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.events import Stop
from db.domain.states import EnrollmentCommand, StopReason, SuppressionReason, SuppressionState, SuppressVerdict
from db.models import Contact, ContactAddress, Suppression, has_domain
from db.postgres.json import rows_parameter
from db.services.paging import Page, page
from db.services.people import opt_outs, suppression_rows
from db.services.people.opt_outs import ANOTHER_ADDRESS, BESIDES, IS_SHARED, SHARED, add_for_contacts
from db.services.people.suppression_rows import STRENGTH
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
    row = _write(session, target, reason, source, expires_at)
    if reason in CONSENT:
        # An address in a contact's row is the contact's; an earlier one could become somebody else's.
        add_for_contacts(session, reasons=dict.fromkeys(contact_ids, reason), source=ANOTHER_ADDRESS, besides_only=True)
    return row, stop_enrollments(session, contact_ids)


def find(session: Session, *, target: SuppressionTarget) -> Suppression | None:
    """Returns the suppression of exactly this address; None if there is none."""
    return session.scalars(_of(target)).one_or_none()


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
    verdicts = suppression_rows.write(session, reasons={target: reason}, source=source, expires_at=expires_at)
    erased = find_erased(session, target)
    if erased is not None:
        return erased
    row = session.scalars(_of(target).execution_options(populate_existing=True)).one()
    if verdicts[target] is SuppressVerdict.REFUSED:
        raise Refused(
            f"This address is suppressed for good, as {row.reason}, so expires_at can't be set. Nothing was changed. "
            "Leave expires_at out, or see unsuppress, which says what lifts it."
        )
    return row


def unsuppress(
    session: Session, *, target: SuppressionTarget, has_new_consent: bool, now: datetime | None = None
) -> Suppression:
    """Lifts the suppression of exactly this address, and returns it as it was. Enrollments that it stopped stay
    stopped.

    NotFound if there is none. Refused for a person's own wish unless `has_new_consent`, and always for an erased
    person. With `has_new_consent`, opt-outs from before `now` (the moment of the call, if left out) no longer hold when
    they are reported later; nor does a bounce from before, once a bounce was lifted.
    """
    if find_erased(session, target) is not None:
        raise Refused(
            "The person of this address was erased, and stays suppressed for ever. If they want to hear from you "
            "again, they must come to you by an address of their own that was not erased."
        )
    rows = _of_every_spelling(session, target)
    if not rows:
        raise NotFound(
            "suppression of this",
            target.kind,
            hint="list_suppressions shows those there are; an address can be held by its domain or another address.",
        )
    row = max(rows, key=lambda row: strength(SuppressionReason(row.reason)))
    if row.reason in CONSENT and not has_new_consent:
        raise Refused(
            f"The person asked not to be written to (reason {row.reason}, recorded {row.created_at:%Y-%m-%d}), so "
            "nothing was lifted. Only their own later wish can: a form they signed or a message they wrote since, "
            "kept where you can show it. If you hold that evidence, call unsuppress again with has_new_consent=true; "
            "if not, leave it."
        )
    at = now or datetime.now(UTC)
    if has_new_consent and target.domain is None:
        opt_outs.consent(session, address=target.value, now=at)
    if target.email is not None and (has_new_consent or row.reason == SuppressionReason.BOUNCED):
        opt_outs.note_working(session, address=target.email, now=at)
    for spelled in rows:
        session.delete(spelled)
    session.flush()  # what still suppresses the person is asked for next
    return row


_SHARED_WITH = text("""
    SELECT s.id FROM contacts c
    JOIN contact_addresses a ON a.contact_id = c.id AND a.same_as = :address
    JOIN suppressions s ON s.email = a.address OR lower(s.linkedin_url) = a.address
    WHERE lower(c.email) = :address OR lower(c.linkedin_url) = :address
""")


def _of_every_spelling(session: Session, target: SuppressionTarget) -> Sequence[Suppression]:
    """Returns the suppressions of an address, locked: its own, and of the spelling in which another contact has it."""
    shared = () if target.domain is not None else session.scalars(_SHARED_WITH, {"address": target.value.lower()}).all()
    is_meant = or_(_is_of(target), Suppression.id.in_(shared)) if shared else _is_of(target)
    return session.scalars(select(Suppression).where(is_meant).order_by(Suppression.id).with_for_update()).all()


def _belongs_to(target: SuppressionTarget) -> ColumnElement[bool]:
    if target.email is not None:
        return func.lower(Contact.email) == target.email
    if target.domain is not None:
        return has_domain(target.domain)
    return func.lower(Contact.linkedin_url) == func.lower(target.linkedin_url)


def _concerned(target: SuppressionTarget, reason: SuppressionReason) -> ColumnElement[bool]:
    """Returns the people whom a suppression stops: the owner of the address, who has it in another spelling and, for an
    own wish, its former owners."""
    if target.domain is not None:
        return _belongs_to(target)
    a = aliased(ContactAddress, name="a")
    had = select(a.contact_id).where(a.address == target.value.lower())
    if reason not in CONSENT:
        had = had.where(text(IS_SHARED))
    # Each by its own index; joined by OR, every contact would be read.
    return Contact.id.in_(union_all(select(Contact.id).where(_belongs_to(target)), had))


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
    UNION SELECT s.id FROM people p CROSS JOIN LATERAL ({SHARED.format(contact="p.id")}) s
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


def stop_enrollments(session: Session, contact_ids: Sequence[UUID], *, campaign_id: UUID | None = None) -> int:
    """Stops what runs of these people, in every campaign or in one. Returns how many enrollments that were."""
    enrollments = enrollment_rows.lock_open_of_contacts(session, contact_ids=contact_ids, campaign_id=campaign_id)
    before = enrollment_rows.snapshot(enrollments)
    for enrollment in enrollments:
        enrollment.stop(Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.SUPPRESSED))
    enrollment_rows.save(session, before=before, after=enrollments)
    return len(enrollments)


class Held(NamedTuple):
    """Why somebody must not be written to: suppressed, or excluded from the one campaign."""

    reason: SuppressionReason
    is_of_campaign: bool

    @property
    def state(self) -> str:
        return "excluded from this campaign" if self.is_of_campaign else "suppressed"


# The secret does not exist before the first erasure; until then nothing is hashed. People are looked up one by one
# (OFFSET), because the planner does not know how few there are, and would read thousands for ten.
_SUPPRESSED = text(f"""
    WITH {ERASURE_KEY}
    SELECT DISTINCT ON (c.id, n.campaign) n.campaign, c.id, s.reason, s.is_of_campaign
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(contact uuid, campaign uuid)
    CROSS JOIN LATERAL (SELECT * FROM contacts WHERE id = n.contact OFFSET 0) c
    JOIN LATERAL (
        SELECT reason, expires_at, false AS is_of_campaign FROM suppressions s WHERE s.email = c.email
        UNION ALL
        SELECT reason, expires_at, false FROM suppressions s WHERE s.domain = split_part(c.email, '@', 2)
        UNION ALL
        SELECT reason, expires_at, false FROM suppressions s WHERE lower(s.linkedin_url) = lower(c.linkedin_url)
        UNION ALL
        SELECT reason, expires_at, false FROM k JOIN suppressions s
        ON s.address_hash = {ADDRESS_HASH.format(address="c.email")}
        UNION ALL
        SELECT reason, expires_at, false FROM k JOIN suppressions s
        ON s.address_hash = {ADDRESS_HASH.format(address="c.linkedin_url")}
        UNION ALL
        SELECT reason, expires_at, false FROM ({BESIDES.format(contact="c.id")}) besides
        UNION ALL
        SELECT reason, expires_at, false FROM ({SHARED.format(contact="c.id")}) shared
        UNION ALL
        SELECT '{SuppressionReason.UNSUBSCRIBED}', NULL, false WHERE c.erased_at IS NOT NULL
        UNION ALL
        SELECT reason, NULL, true FROM campaign_exclusions x WHERE x.instance_id = n.campaign
            AND x.address IN (c.email, '@' || split_part(c.email, '@', 2), lower(c.linkedin_url))
        UNION ALL
        SELECT x.reason, NULL, true FROM contact_addresses a
        JOIN campaign_exclusions x ON x.instance_id = n.campaign AND x.address = a.address WHERE a.contact_id = c.id
    ) s ON s.expires_at IS NULL OR s.expires_at > :now
    ORDER BY c.id, n.campaign, s.is_of_campaign, {STRENGTH.format(row="s")} DESC
""")


def of_people_in(
    session: Session, *, people: Collection[tuple[UUID, UUID]], now: datetime
) -> dict[tuple[UUID, UUID], Held]:
    """Returns which of these people (campaign, contact) the campaign must not write to at `now`, and why: the strongest
    suppression, else the strongest exclusion."""
    rows = [{"campaign": campaign_id, "contact": contact_id} for campaign_id, contact_id in people]
    found = session.execute(_SUPPRESSED, {**rows_parameter(rows), "now": now})
    return {
        (campaign_id, contact_id): Held(SuppressionReason(reason), is_of_campaign)
        for campaign_id, contact_id, reason, is_of_campaign in found
    }


def of_contacts(session: Session, *, contact_ids: Sequence[UUID], now: datetime) -> dict[UUID, SuppressionReason]:
    """Returns which of these contacts no campaign may write to at `now`, and the strongest reason why."""
    rows = [{"contact": contact_id} for contact_id in contact_ids]
    found = session.execute(_SUPPRESSED, {**rows_parameter(rows), "now": now})
    return {contact_id: SuppressionReason(reason) for _, contact_id, reason, _ in found}


_ADDRESSES_SUPPRESSED = text(f"""
    WITH {ERASURE_KEY},
    asked AS MATERIALIZED (SELECT jsonb_array_elements_text(CAST(:rows AS jsonb)) AS address)
    SELECT DISTINCT ON (n.address) n.address, s.reason
    FROM asked n JOIN LATERAL (
        SELECT reason, expires_at FROM suppressions s WHERE s.email = n.address
        UNION ALL
        SELECT reason, expires_at FROM suppressions s WHERE s.domain = split_part(n.address, '@', 2)
        UNION ALL
        SELECT reason, expires_at FROM k JOIN suppressions s
        ON s.address_hash = {ADDRESS_HASH.format(address="n.address")}
        UNION ALL
        SELECT b.reason, b.expires_at FROM contacts c CROSS JOIN LATERAL ({BESIDES.format(contact="c.id")}) b
        WHERE lower(c.email) = n.address
        UNION ALL
        SELECT b.reason, b.expires_at FROM contacts c CROSS JOIN LATERAL ({SHARED.format(contact="c.id")}) b
        WHERE lower(c.email) = n.address
        UNION ALL
        SELECT x.reason, NULL FROM campaign_exclusions x WHERE x.instance_id = :campaign
            AND x.address IN (n.address, '@' || split_part(n.address, '@', 2))
    ) s ON s.expires_at IS NULL OR s.expires_at > :now
    ORDER BY n.address, {STRENGTH.format(row="s")} DESC
""")


def of_addresses(
    session: Session, *, campaign_id: UUID, addresses: Collection[str], now: datetime
) -> dict[str, SuppressionReason]:
    """Returns which of these addresses, whoever has them, a campaign must not write to at `now`, and why."""
    if not addresses:
        return {}
    values = {**rows_parameter(sorted(addresses)), "campaign": campaign_id, "now": now}
    found = session.execute(_ADDRESSES_SUPPRESSED, values)
    return {address: SuppressionReason(reason) for address, reason in found}


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
        searched = (Suppression.email, Suppression.domain, func.lower(Suppression.linkedin_url))
        statement = statement.where(or_(*(each.contains(search.lower(), autoescape=True) for each in searched)))
    if state is not None:
        assert now is not None, "a state is that of a moment"
        ended = Suppression.expires_at.is_not(None) & (Suppression.expires_at <= now)
        statement = statement.where(_holds(now) if state is SuppressionState.ACTIVE else ended)
    return page(session, statement, by=[Suppression.id], limit=limit, cursor=cursor, listing="suppressions")
