"""Colleagues: what an answer of one person does to others at the same company, where the workspace asks for it."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.enrollment import Enrollment
from db.domain.events import Stop
from db.domain.holds import of_reply_elsewhere
from db.domain.states import EnrollmentCommand, StopReason
from db.domain.workspace import Colleagues
from db.postgres.json import rows_parameter
from db.services.ops import settings
from db.services.people.companies import WORKS_AT, company_of
from db.services.state import enrollment_rows

_MOST: Final = 500
"""So many people of the companies are held or stopped by one call."""
_STOP: Final = Stop(EnrollmentCommand.COMPLETE, StopReason.COLLEAGUE_REPLIED)

_ANSWERED: Final = f"('{StopReason.REPLIED}', '{StopReason.COLLEAGUE_REPLIED}')"

_EMAILS = text("""
    SELECT id, email FROM contacts
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))) AND email IS NOT NULL
""")
# Enrollments are locked after those of who has answered; two answers of one company at the same moment may therefore
# meet crosswise, and one of them is recorded again.
AT_COMPANIES = text(f"""
    WITH companies AS MATERIALIZED (
        SELECT DISTINCT jsonb_array_elements_text(CAST(:rows AS jsonb)) AS name
    ), people AS MATERIALIZED (
        SELECT c.id, companies.name
        FROM companies JOIN contacts c ON {WORKS_AT.format(company="companies.name")}
        WHERE EXISTS (
            SELECT FROM campaign_enrollments e WHERE e.contact_id = c.id
              AND (e.status IN ('enrolled', 'active', 'paused') OR e.stop_reason IN {_ANSWERED})
        )
    )
    SELECT people.name, {enrollment_rows.COLUMNS}
    FROM (SELECT * FROM people ORDER BY id LIMIT :most) people JOIN campaign_enrollments e ON e.contact_id = people.id
      AND (e.status IN ('enrolled', 'active', 'paused') OR e.stop_reason IN {_ANSWERED})
    ORDER BY e.instance_id, e.id FOR NO KEY UPDATE OF e
""")


class _Colleague(NamedTuple):
    company: str
    enrollment: Enrollment


def note_answers(session: Session, *, answered: Iterable[Enrollment]) -> None:
    """Holds or stops the open enrollments of the colleagues of people who have answered these, as the workspace says.
    The answered ones are locked."""
    by_person = {enrollment.contact_id: enrollment for enrollment in answered}
    rule = settings.get(session).colleagues if by_person else Colleagues.NOTHING
    if rule is Colleagues.NOTHING:
        return
    companies = _companies(session, by_person)
    found = [one for one in _at(session, companies) if one.enrollment.contact_id not in by_person]
    others = [one.enrollment for one in found]
    before = enrollment_rows.snapshot(others)
    for company, other in found:
        source = by_person[companies[company]]
        if rule is Colleagues.HOLD:
            other.wait_for_a_person(of_reply_elsewhere("a colleague", source.campaign_id, source.id).detail)
        elif other.is_open:
            other.stop(_STOP)
    enrollment_rows.save(session, before=before, after=others)


def _companies(session: Session, contact_ids: Iterable[UUID]) -> dict[str, UUID]:
    """Returns company -> one of these people."""
    found = session.execute(_EMAILS, rows_parameter(sorted(contact_ids)))
    return {company: id_ for id_, email in found if (company := company_of(email)) is not None}


def _at(session: Session, companies: Mapping[str, UUID]) -> list[_Colleague]:
    """Returns the enrollments at these companies that are open, or ended by an answer, locked."""
    if not companies:
        return []
    rows = session.execute(AT_COMPANIES, {**rows_parameter(sorted(companies)), "most": _MOST})
    return [_Colleague(company, enrollment_rows.from_row(columns)) for company, *columns in rows]


class Freed(NamedTuple):
    """The enrollments of colleagues that an answer had held, and had stopped: locked."""

    held: list[Enrollment]
    stopped: list[Enrollment]


def of_answer(session: Session, *, answered: Enrollment) -> Freed:
    """Returns the enrollments of colleagues that an answer to this one had held or stopped, which is taken back. Who
    was stopped stays so if anybody else of the company has answered."""
    others = [one.enrollment for one in _at(session, _companies(session, [answered.contact_id]))]
    held = [other for other in others if other.is_held_by_reply(answered.id)]
    if any(other.stop_reason is StopReason.REPLIED for other in others):
        return Freed(held, [])
    return Freed(held, [other for other in others if other.stop_reason is StopReason.COLLEAGUE_REPLIED])
