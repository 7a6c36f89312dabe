"""People. One row a person, found by either address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Text, func, literal_column, select, text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields
from db.domain.ids import new_ids
from db.models import Contact
from db.postgres.json import rows_parameter
from db.services import suppressions
from db.services.paging import Page, page

_GIVEN = """
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
        row int, id uuid, email text, linkedin_url text, first_name text, last_name text, company text, title text,
        timezone text, attributes jsonb)
"""
# In order of the address, so that two calls with the same people wait for each other instead of deadlocking.
_INSERT = text(f"""
    INSERT INTO contacts (id, email, linkedin_url, first_name, last_name, company, title, timezone, attributes)
    SELECT id, email, linkedin_url, first_name, last_name, company, title, timezone, attributes
    FROM {_GIVEN} ORDER BY email, lower(linkedin_url)
    ON CONFLICT DO NOTHING RETURNING id
""")
_FIND = text(f"""
    SELECT g.row, by_email.id, by_profile.id
    FROM {_GIVEN}
    LEFT JOIN contacts by_email ON lower(by_email.email) = g.email
    LEFT JOIN contacts by_profile ON lower(by_profile.linkedin_url) = lower(g.linkedin_url)
""")
_MERGED = ("linkedin_url", "email", "first_name", "last_name", "company", "title", "timezone")


def _update(keep: str, other: str) -> str:
    """Take each field of `keep`, or of `other` where it is empty. Rows that would not change are not written, nor those
    of people who were erased since they were found."""
    values = {name: f"coalesce({keep}.{name}, {other}.{name})" for name in _MERGED}
    # The right side of || wins where both have the key.
    values["attributes"] = f"{other}.attributes || {keep}.attributes"
    return f"""
        WITH given AS MATERIALIZED (SELECT g.* FROM {_GIVEN}),
        locked AS MATERIALIZED (
            SELECT c.id FROM contacts c WHERE c.id IN (SELECT id FROM given) ORDER BY c.id FOR NO KEY UPDATE
        )
        UPDATE contacts c SET {", ".join(f"{name} = {value}" for name, value in values.items())}, updated_at = now()
        FROM given g WHERE c.id = g.id AND c.id IN (SELECT id FROM locked)
          AND c.erased_at IS NULL -- looked at again in the row as it stands once the lock is had
          AND ({", ".join(f"c.{name}" for name in values)}) IS DISTINCT FROM ({", ".join(values.values())})
    """


_FILL = text(_update("c", "g"))
_OVERWRITE = text(_update("g", "c"))


@dataclass(frozen=True, slots=True)
class Found:
    """Who a row is. `contact_id` is None where its two addresses belong to two people."""

    contact_id: UUID | None
    is_new: bool


def find_or_create(session: Session, *, people: Mapping[int, ContactFields], overwrite: bool) -> dict[int, Found]:
    """A contact for each row of `people` (any number -> fields), made where neither address is known.

    Of a contact that exists, empty fields are filled; `overwrite` replaces the others too.
    """
    if not people:
        return {}
    given: list[dict[str, Any]] = [
        {"row": row, "id": id_, **_values(fields)}
        for (row, fields), id_ in zip(people.items(), new_ids(len(people)), strict=True)
    ]
    created = set(session.execute(_INSERT, rows_parameter(given)).scalars())
    if len(created) == len(given):
        return {value["row"]: Found(value["id"], is_new=True) for value in given}
    others = [value for value in given if value["id"] not in created]
    found = {value["row"]: Found(value["id"], is_new=True) for value in given if value["id"] in created}
    known: list[dict[str, Any]] = []
    by_row = {value["row"]: value for value in others}
    for row, by_email, by_profile in session.execute(_FIND, rows_parameter(others)):
        clash = by_email is not None and by_profile is not None and by_email != by_profile
        contact_id = None if clash else by_email or by_profile
        found[row] = Found(contact_id, is_new=False)
        if contact_id is not None:
            known.append({**by_row[row], "id": contact_id})
    # One row a contact: of several rows about one person the first is taken.
    distinct = {value["id"]: value for value in reversed(known)}
    # Found by the one address, such a row may bring the other: a wish holds for the person, and so for both.
    with_both = [value["id"] for value in distinct.values() if value["email"] and value["linkedin_url"]]
    wishes = suppressions.wishes(session, contact_ids=with_both)
    session.execute(_OVERWRITE if overwrite else _FILL, rows_parameter(list(distinct.values())))
    suppressions.add_for_contacts(session, reasons=wishes, source="another address of the person")
    return found


def existing(session: Session, *, contact_ids: Sequence[UUID]) -> set[UUID]:
    """Which of these ids are contacts that can be written to (erased ones can't)."""
    if not contact_ids:
        return set()
    statement = select(Contact.id).where(Contact.id.in_(contact_ids), Contact.erased_at.is_(None))
    return set(session.scalars(statement))


# One text, so that each person costs one comparison, and of immutable functions, so that it can be indexed where there
# is pg_trgm (docs/operations.md). Nobody searches for the end of a line.
_SEARCHED = literal_column(
    "(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || E'\\n' || coalesce(email, '')"
    " || E'\\n' || coalesce(company, '') || E'\\n' || coalesce(title, ''))",
    Text,
).label("searched")


def find(
    session: Session,
    *,
    search: str | None,
    email: str | None,
    company: str | None,
    contact_id: UUID | None = None,
    limit: int,
    cursor: str | None,
) -> Page[Contact]:
    """Contacts, newest first: by id, by exact email, by company, or by a part of name, email, company or title.

    Whoever was erased is found by id alone.
    """
    statement = select(Contact)
    if contact_id is None:
        statement = statement.where(Contact.erased_at.is_(None))
    else:
        statement = statement.where(Contact.id == contact_id)
    if email is not None:
        statement = statement.where(func.lower(Contact.email) == email)
    if company is not None:
        statement = statement.where(func.lower(Contact.company) == func.lower(company))
    if search is not None:
        statement = statement.where(_SEARCHED.icontains(search, autoescape=True))
    return page(session, statement, by=[Contact.id], limit=limit, cursor=cursor, listing="contacts")


def _values(fields: ContactFields) -> dict[str, Any]:
    return {name: getattr(fields, name) for name in ContactFields.__slots__}
