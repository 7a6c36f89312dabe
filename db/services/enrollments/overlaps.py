"""Overlaps: people who are in another campaign already, and colleagues of theirs who are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactRef
from db.domain.overlap import OverlapKind
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.people.companies import WORKS_AT, company_of

COLLEAGUES_MOST: Final = 20
"""Of one company as many are told."""
_OVERLAPS_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Overlap:
    """Somebody who is in a campaign that goes on. index: of the person who was asked about. email: of who is in it."""

    index: int
    kind: OverlapKind
    contact_id: UUID
    email: str | None
    campaign_id: UUID
    campaign: str
    enrollment_id: UUID
    current_step: int


# The planner takes a company for hundreds of people, and would read all enrollments for them; OFFSET 0 lets it look up
# those of each.
_FIND = text(f"""
    WITH asked AS MATERIALIZED (
        SELECT n, contact_id, email, linkedin_url, company FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS a(n int, contact_id uuid, email text, linkedin_url text, company text)
    ), known AS MATERIALIZED (
        SELECT a.n, c.id FROM asked a JOIN contacts c ON c.id = a.contact_id
        UNION
        SELECT a.n, c.id FROM asked a JOIN contacts c ON lower(c.email) = a.email
        UNION
        SELECT a.n, c.id FROM asked a JOIN contacts c ON lower(c.linkedin_url) = a.linkedin_url
        UNION
        SELECT a.n, o.contact_id FROM asked a JOIN contact_addresses o ON o.address = a.email
    ), companies AS MATERIALIZED (
        SELECT company, min(n) AS n FROM asked WHERE company IS NOT NULL GROUP BY company
    ), colleagues AS (
        SELECT companies.n, c.id, row_number() OVER (PARTITION BY companies.n ORDER BY c.id) AS place
        FROM companies JOIN contacts c ON {WORKS_AT.format(company="companies.company")}
        WHERE NOT EXISTS (SELECT FROM known WHERE known.id = c.id)
          AND EXISTS (SELECT FROM campaign_enrollments e
                      WHERE e.contact_id = c.id AND e.status IN ('enrolled', 'active', 'paused'))
    ), found AS (
        SELECT n, id, '{OverlapKind.PERSON}' AS kind FROM known
        UNION ALL
        SELECT n, id, '{OverlapKind.COLLEAGUE}' FROM colleagues WHERE place <= {COLLEAGUES_MOST}
    ), first AS MATERIALIZED (
        SELECT found.n, found.kind, found.id AS contact_id, i.id AS instance_id, i.name, e.id, e.current_step
        FROM found
        CROSS JOIN LATERAL (
            SELECT e.instance_id, e.id, e.current_step FROM campaign_enrollments e
            WHERE e.contact_id = found.id AND e.status IN ('enrolled', 'active', 'paused') OFFSET 0
        ) e
        JOIN campaign_instances i ON i.id = e.instance_id AND i.status IN ('draft', 'active', 'paused')
        WHERE e.instance_id IS DISTINCT FROM CAST(:campaign AS uuid)
        ORDER BY found.kind DESC, found.n, e.id LIMIT :limit
    )
    SELECT f.n, f.kind, f.contact_id, (SELECT email FROM contacts WHERE id = f.contact_id), f.instance_id, f.name, f.id,
           f.current_step
    FROM first f ORDER BY f.kind DESC, f.n, f.id
""").columns(*named("n", "kind", "contact_id", "email", "campaign_id", "campaign", "enrollment_id", "current_step"))


def find(session: Session, *, people: Mapping[int, ContactRef], campaign_id: UUID | None) -> list[Overlap]:
    """Returns up to 200 overlaps of these people with campaigns that go on: their own first, then those of colleagues,
    at most 20 of a company. `campaign_id`: that they are to be enrolled in, which does not count."""
    unnamed = {ref.contact_id for ref in people.values() if ref.contact_id is not None and not ref.fields.email}
    found = session.execute(_EMAILS, rows_parameter(sorted(unnamed))) if unnamed else ()
    emails: dict[UUID | None, str] = {id_: email for id_, email in found}  # noqa: C416  a row is not a pair to the type checker
    rows = [
        {
            "n": row,
            "contact_id": ref.contact_id,
            "email": ref.fields.email and ref.fields.email.lower(),
            "linkedin_url": ref.fields.linkedin_url and ref.fields.linkedin_url.lower(),
            "company": company_of(ref.fields.email or emails.get(ref.contact_id)),
        }
        for row, ref in people.items()
    ]
    values = {**rows_parameter(rows), "campaign": campaign_id, "limit": _OVERLAPS_MOST}
    return [Overlap(n, OverlapKind(kind), *rest) for n, kind, *rest in session.execute(_FIND, values)]


_EMAILS = text("""
    SELECT id, email FROM contacts
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))) AND email IS NOT NULL
""")
_HOW_MANY = text("""
    SELECT count(DISTINCT e.contact_id)
    FROM (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid) AS contact_id) people
    JOIN campaign_enrollments e ON e.contact_id = people.contact_id AND e.status IN ('enrolled', 'active', 'paused')
    JOIN campaign_instances i ON i.id = e.instance_id AND i.status IN ('draft', 'active', 'paused')
    WHERE e.instance_id <> :campaign
""")


def how_many(session: Session, *, contact_ids: Collection[UUID], campaign_id: UUID) -> int:
    """Returns how many of these people are in another campaign that goes on."""
    if not contact_ids:
        return 0
    return session.scalars(_HOW_MANY, {**rows_parameter(sorted(contact_ids)), "campaign": campaign_id}).one()
