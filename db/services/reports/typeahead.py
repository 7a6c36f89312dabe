"""Type-ahead: ids for the start of an id, or of a name in either case, newest first."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from db.models import FULL_NAME

# Below this, the start of a person's name tells too little for a search of all people.
_PERSON_MIN = 3

_BY_ID = "id BETWEEN CAST(:low AS uuid) AND CAST(:high AS uuid)"
_BY_NAME = "starts_with(lower(name), lower(CAST(:typed AS text)))"
_BEYOND = "chr(1114111)"
"""The last of all characters."""
# From the end of the primary key, and no further than the limit.
_CAMPAIGNS = text(f"SELECT id FROM campaign_instances WHERE {_BY_ID} OR {_BY_NAME} ORDER BY id DESC LIMIT :limit")
_TEMPLATES = text(
    f"SELECT id FROM campaign_templates WHERE is_active AND ({_BY_ID} OR {_BY_NAME}) ORDER BY id DESC LIMIT :limit"
)
# Each by its own index; joined by OR, all people would be read.
_STARTING = f"""
    (SELECT id FROM contacts
     WHERE {{text}} ~>=~ lower(CAST(:typed AS text)) AND {{text}} ~<~ (lower(CAST(:typed AS text)) || {_BEYOND})
       AND char_length(CAST(:typed AS text)) >= {_PERSON_MIN}
     ORDER BY id DESC LIMIT :limit)
"""
_ENROLLMENTS = text(f"""
    WITH people AS MATERIALIZED (
        {_STARTING.format(text="lower(email)")} UNION
        {_STARTING.format(text="lower(last_name)")} UNION
        {_STARTING.format(text=FULL_NAME)}
        ORDER BY id DESC LIMIT :limit
    ), found AS (
        (SELECT id FROM campaign_enrollments WHERE {_BY_ID} ORDER BY id DESC LIMIT :limit)
        UNION
        (SELECT e.id FROM people p JOIN campaign_enrollments e ON e.contact_id = p.id)
    )
    SELECT id FROM found ORDER BY id DESC LIMIT :limit
""")


def campaigns(session: Session, *, typed: str, limit: int) -> Sequence[UUID]:
    """Returns up to `limit` campaigns by id or name."""
    return _find(session, _CAMPAIGNS, typed, limit)


def templates(session: Session, *, typed: str, limit: int) -> Sequence[UUID]:
    """Returns up to `limit` templates by id or name, without archived ones."""
    return _find(session, _TEMPLATES, typed, limit)


def enrollments(session: Session, *, typed: str, limit: int) -> Sequence[UUID]:
    """Returns up to `limit` enrollments by id, or by the person's full name, last name or email address."""
    return _find(session, _ENROLLMENTS, typed, limit)


def _find(session: Session, statement: TextClause, typed: str, limit: int) -> Sequence[UUID]:
    low, high = _range(typed)
    return session.scalars(statement, {"low": low, "high": high, "typed": typed, "limit": limit}).all()


def _range(typed: str) -> tuple[UUID | None, UUID | None]:
    """Returns the least and the greatest id that starts like this; None where no id does."""
    begun = typed.lower()
    low = begun + str(UUID(int=0))[len(begun) :]
    high = begun + str(UUID(int=2**128 - 1))[len(begun) :]
    try:
        is_id = str(UUID(low)) == low
    except ValueError:
        is_id = False
    return (UUID(low), UUID(high)) if is_id else (None, None)
