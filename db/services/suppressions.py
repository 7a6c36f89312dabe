"""Addresses that must not be written to. Looked at when a person is enrolled, and again when a step is claimed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.orm import Session

from db.domain.events import Stop
from db.domain.ids import new_ids
from db.domain.states import EnrollmentCommand, StopReason, SuppressionReason
from db.models import Contact, Suppression
from db.postgres.json import rows_parameter
from db.services import enrollment_state
from db.services.paging import Page, page

_INSERT = """
    INSERT INTO suppressions (id, {target}, reason, source)
    SELECT id, {target}, reason, :source FROM ({rows}) n WHERE {target} IS NOT NULL ORDER BY {target}
    ON CONFLICT ({target}) WHERE {target} IS NOT NULL DO UPDATE
    SET reason = excluded.reason, source = excluded.source, expires_at = NULL
    WHERE suppressions.expires_at IS NOT NULL
"""
_OF_CONTACTS = """
    SELECT n.id, c.email, c.linkedin_url, n.reason
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(id uuid, contact_id uuid, reason text)
    JOIN contacts c ON c.id = n.contact_id
"""
_ADD_EMAILS = text(_INSERT.format(target="email", rows=_OF_CONTACTS))
# A dead mailbox says nothing of the person's LinkedIn account; a wish to be left alone does.
_ADD_PROFILES = text(
    _INSERT.format(target="linkedin_url", rows=_OF_CONTACTS + f" WHERE n.reason <> '{SuppressionReason.BOUNCED}'")
)


def add_for_contacts(session: Session, *, reasons: Mapping[UUID, SuppressionReason], source: str) -> None:
    """Suppress the addresses of contacts (id -> reason). What is suppressed already stays as it is."""
    if not reasons:
        return
    for statement in (_ADD_EMAILS, _ADD_PROFILES):
        ids = new_ids(len(reasons))
        rows = [
            {"id": id_, "contact_id": contact_id, "reason": reason}
            for id_, (contact_id, reason) in zip(ids, reasons.items(), strict=True)
        ]
        session.execute(statement, {**rows_parameter(rows), "source": source})


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
    """Suppress one address (normalised; exactly one is given) and stop the running enrollments of whom it belongs to.

    Returns the suppression and how many enrollments stopped. Suppressing again replaces reason, source and expiry.
    """
    target = {"email": email, "domain": domain, "linkedin_url": linkedin_url}
    column, value = next((getattr(Suppression, name), value) for name, value in target.items() if value is not None)
    # Locked before the row is written, so that an enrolment under way either sees the row or is stopped here.
    contact_ids = session.scalars(
        select(Contact.id).where(_belongs_to(column.key, value)).order_by(Contact.id).with_for_update()
    ).all()
    row = session.scalars(select(Suppression).where(column == value).with_for_update()).one_or_none()
    if row is None:
        row = Suppression(**target)
        session.add(row)
    row.reason, row.source, row.expires_at = reason, source, expires_at
    session.flush()  # created_at is the database's
    return row, _stop(session, contact_ids)


def _belongs_to(target: str, value: str) -> ColumnElement[bool]:
    if target == "email":
        return func.lower(Contact.email) == value
    if target == "domain":
        return func.split_part(Contact.email, "@", 2) == value
    return Contact.linkedin_url == value


def _stop(session: Session, contact_ids: Sequence[UUID]) -> int:
    enrollments = enrollment_state.lock_open_of_contacts(session, contact_ids=contact_ids)
    before = enrollment_state.snapshot(enrollments)
    for each in enrollments:
        each.stop(Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.SUPPRESSED))
    enrollment_state.save(session, before=before, after=enrollments)
    return len(enrollments)


_SUPPRESSED = text("""
    SELECT DISTINCT ON (c.id) c.id, s.reason
    FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS n(id) JOIN contacts c ON c.id = CAST(n.id AS uuid)
    JOIN LATERAL (
        SELECT reason, expires_at FROM suppressions s WHERE s.email = c.email
        UNION ALL
        SELECT reason, expires_at FROM suppressions s WHERE s.domain = split_part(c.email, '@', 2)
        UNION ALL
        SELECT reason, expires_at FROM suppressions s WHERE s.linkedin_url = c.linkedin_url
    ) s ON s.expires_at IS NULL OR s.expires_at > :now
    ORDER BY c.id
""")


def of_contacts(session: Session, *, contact_ids: Sequence[UUID], now: datetime) -> dict[UUID, SuppressionReason]:
    """Which of these contacts must not be written to, and why."""
    rows = session.execute(_SUPPRESSED, {**rows_parameter(list(contact_ids)), "now": now})
    return {contact_id: SuppressionReason(reason) for contact_id, reason in rows}


def list_(
    session: Session, *, reason: SuppressionReason | None, search: str | None, limit: int, cursor: str | None
) -> Page[Suppression]:
    """Suppressions, newest first, of one reason or of addresses that contain `search`."""
    statement = select(Suppression)
    if reason is not None:
        statement = statement.where(Suppression.reason == reason)
    if search is not None:
        columns = (Suppression.email, Suppression.domain, Suppression.linkedin_url)
        statement = statement.where(or_(*(column.contains(search.lower(), autoescape=True) for column in columns)))
    return page(session, statement, by=[Suppression.id], limit=limit, cursor=cursor, listing="suppressions")
