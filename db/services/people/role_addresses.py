"""Counts people whose address belongs to a role, such as info@."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.role_addresses import ROLES
from db.postgres.json import rows_parameter, to_text

_COUNT = text("""
    SELECT count(*) FROM contacts
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND split_part(split_part(lower(email), '@', 1), '+', 1)
          = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:roles AS jsonb))))
""")


def how_many(session: Session, *, contact_ids: Collection[UUID]) -> int:
    """Returns how many of these people have such an address."""
    if not contact_ids:
        return 0
    values = {**rows_parameter(sorted(set(contact_ids))), "roles": to_text(sorted(ROLES))}
    return session.scalars(_COUNT, values).one()
