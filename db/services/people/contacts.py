"""Contacts: one row a person, found by either address."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Text, func, literal_column, select, text
from sqlalchemy.orm import Session

from db.domain import merging
from db.domain.contacts import CONTACT_ADDRESSES, CONTACT_FIELDS, CONTACT_TEXTS, ContactFields
from db.domain.ids import new_ids
from db.domain.merging import Person, merge
from db.domain.searching import words_of
from db.models import Contact
from db.postgres.json import rows_parameter
from db.services.campaigns import condition_waits, zones
from db.services.paging import Page, page
from db.services.people import opt_outs
from db.services.people.opt_outs import ANOTHER_ADDRESS

_COLUMNS = ", ".join(CONTACT_FIELDS)
_KEPT = ", ".join(f"nullif({name}, '')" if name in CONTACT_TEXTS else name for name in CONTACT_FIELDS)
_GIVEN = f"""
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
        id uuid, {", ".join(f"{name} text" for name in CONTACT_TEXTS)}, attributes jsonb)
"""
# In order of the address, so that two calls with the same people wait for each other instead of deadlocking.
_INSERT = text(f"""
    INSERT INTO contacts (id, {_COLUMNS}) SELECT id, {_KEPT} FROM {_GIVEN} ORDER BY email, lower(linkedin_url)
    ON CONFLICT DO NOTHING RETURNING id
""")
_FIND = text("""
    SELECT g.row, by_email.id, by_profile.id
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(row int, email text, linkedin_url text)
    LEFT JOIN contacts by_email ON lower(by_email.email) = g.email
    LEFT JOIN contacts by_profile ON lower(by_profile.linkedin_url) = lower(g.linkedin_url)
""")


def _update(keep: str, other: str) -> str:
    """Fills each empty field of `keep` from `other`, for locked rows. Rows that would not change are not written, nor
    rows of erased people."""
    said = {"c": "nullif(c.{name}, '')", "g": "g.{name}"}
    values = {name: f"nullif(coalesce({said[keep]}, {said[other]}), '')".format(name=name) for name in CONTACT_TEXTS}
    # The right side of || wins if both have the key.
    values["attributes"] = f"{other}.attributes || {keep}.attributes"
    return f"""
        WITH given AS MATERIALIZED (SELECT g.* FROM {_GIVEN}),
        before AS MATERIALIZED (SELECT c.id, c.timezone FROM contacts c WHERE c.id IN (SELECT id FROM given))
        UPDATE contacts c SET {", ".join(f"{name} = {value}" for name, value in values.items())}, updated_at = now()
        FROM given g JOIN before b ON b.id = g.id WHERE c.id = g.id AND c.erased_at IS NULL
          AND ({", ".join(f"c.{name}" for name in values)}) IS DISTINCT FROM ({", ".join(values.values())})
        RETURNING c.id, c.timezone IS DISTINCT FROM b.timezone
    """


_FILL = text(_update("c", "g"))
_OVERWRITE = text(_update("g", "c"))


@dataclass(frozen=True, slots=True)
class Found:
    """The person of a row. `contact_id` is None if the row is refused; `reason` says why. `is_merged`: an earlier row
    of the call is about the same person. `note`: which part of the row was stored elsewhere than it seems."""

    contact_id: UUID | None
    is_new: bool = False
    is_merged: bool = False
    reason: str | None = None
    note: str | None = None

    @property
    def status(self) -> str:
        """created, updated, merged or invalid"""
        if self.contact_id is None:
            return "invalid"
        return "merged" if self.is_merged else "created" if self.is_new else "updated"


# What another call makes or changes meanwhile is found by the next look-up.
_LOOKS = 3
_BUSY = "another call changed this person at the same time: give the row again"
_KEPT_BESIDES = "the contact has another {name}: this one was kept besides, and is not written to"


def find_or_create(
    session: Session,
    *,
    people: Mapping[int, ContactFields],
    overwrite: bool,
    contact_ids: Mapping[int, UUID] | None = None,
) -> dict[int, Found]:
    """Returns a contact for each row of `people` (any number -> fields), and makes those whose addresses are unknown.
    `contact_ids` are those of rows that name their contact.

    Empty fields of an existing contact are filled; `overwrite` replaces the others too. Rows about one person are
    merged in their order, and rows that contradict each other are refused (db.domain.merging). An address that the
    contact had or does not take is kept besides, and the person's opt-out spreads to each address that joins.
    """
    found: dict[int, Found] = {}
    left = people
    for _ in range(_LOOKS):
        if not left:
            break
        persons, refused = merge(left, _known(session, left, contact_ids or {}), later_wins=overwrite)
        found |= {row: Found(None, reason=reason) for row, reason in refused.items()}
        known = {person.contact_id: person for person in persons if person.contact_id is not None}
        for person in _create(session, [person for person in persons if person.contact_id is None]):
            found |= _answers(person, people, _present(person.fields), is_new=True)
        for contact_id, present in _change(session, known, overwrite=overwrite).items():
            found |= _answers(known[contact_id], people, present, is_new=False)
        left = {row: fields for row, fields in left.items() if row not in found}
    return found | {row: Found(None, reason=_BUSY) for row in left}


def _known(
    session: Session, people: Mapping[int, ContactFields], contact_ids: Mapping[int, UUID]
) -> dict[int, merging.Known]:
    rows = [{"row": row, "email": fields.email, "linkedin_url": fields.linkedin_url} for row, fields in people.items()]
    found = session.execute(_FIND, rows_parameter(rows))
    return {row: merging.Known(contact_ids.get(row), *owners) for row, *owners in found}


def _create(session: Session, people: Sequence[Person]) -> list[Person]:
    """Inserts these new people. Returns those who were made; another call was faster with the others."""
    if not people:
        return []
    new = dict(zip(new_ids(len(people)), people, strict=True))
    rows = [{"id": id_, **person.fields.values()} for id_, person in new.items()]
    created = list(session.execute(_INSERT, rows_parameter(rows)).scalars())
    for contact_id in created:
        new[contact_id].contact_id = contact_id
    opt_outs.keep_besides(session, addresses={id_: new[id_].addresses - _present(new[id_].fields) for id_ in created})
    return [new[contact_id] for contact_id in created]


def _change(session: Session, people: Mapping[UUID, Person], *, overwrite: bool) -> dict[UUID, set[str]]:
    """Fills or overwrites these contacts. Returns the present addresses of each; leaves out people who were erased
    meanwhile."""
    if not people:
        return {}
    before = opt_outs.lock_addresses(session, contact_ids=people)
    rows = [{"id": id_, **people[id_].fields.values()} for id_ in before]
    changed = session.execute(_OVERWRITE if overwrite else _FILL, rows_parameter(rows))
    moved: dict[UUID, bool] = dict(tuple(row) for row in changed)
    zones.of_people(session, contact_ids=[contact_id for contact_id, has_moved in moved.items() if has_moved])
    condition_waits.end_of_people(session, contact_ids=moved)
    present: dict[UUID, set[str]] = {}
    besides: dict[UUID, set[str]] = {}
    joined: set[UUID] = set()
    for contact_id, (email, linkedin_url) in before.items():
        had = ContactFields(email, linkedin_url)
        first, second = (people[contact_id].fields, had) if overwrite else (had, people[contact_id].fields)
        has = ContactFields(first.email or second.email, first.linkedin_url or second.linkedin_url)
        present[contact_id] = _present(has)
        besides[contact_id] = (_present(had) | people[contact_id].addresses) - present[contact_id]
        if present[contact_id] - _present(had):
            joined.add(contact_id)
    joined |= opt_outs.keep_besides(session, addresses=besides)
    held = opt_outs.of_people(session, contact_ids=list(joined))
    opt_outs.add_for_contacts(session, reasons=held, source=ANOTHER_ADDRESS)
    return present


def _present(fields: ContactFields) -> set[str]:
    """Returns the addresses, as they are compared."""
    return {address.lower() for address in (fields.email, fields.linkedin_url) if address is not None}


def _answers(
    person: Person, people: Mapping[int, ContactFields], present: set[str], *, is_new: bool
) -> dict[int, Found]:
    answers: dict[int, Found] = {}
    for row in person.rows:
        fields, is_merged = people[row], row != person.rows[0]
        besides = [
            name
            for name in CONTACT_ADDRESSES
            if (address := getattr(fields, name)) is not None and address.lower() not in present
        ]
        note = _KEPT_BESIDES.format(name=" and ".join(besides)) if besides else None
        answers[row] = Found(person.contact_id, is_new=is_new and not is_merged, is_merged=is_merged, note=note)
    return answers


def existing(session: Session, *, contact_ids: Sequence[UUID]) -> set[UUID]:
    """Returns which of these ids are contacts that can be written to; erased ones can't."""
    if not contact_ids:
        return set()
    statement = select(Contact.id).where(Contact.id.in_(contact_ids), Contact.erased_at.is_(None))
    return set(session.scalars(statement))


_EMAILS = text("""
    SELECT email FROM contacts
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))) AND email IS NOT NULL
""")


def emails_of(session: Session, *, contact_ids: Collection[UUID]) -> Sequence[str]:
    """Returns the email of each of these people who has one."""
    return session.scalars(_EMAILS, rows_parameter(sorted(set(contact_ids)))).all() if contact_ids else []


# One text, so that each person costs one comparison; of immutable functions, so that it can be indexed with pg_trgm
# (migration 0058). Nobody searches for a line break.
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
    linkedin_url: str | None = None,
    limit: int,
    cursor: str | None,
) -> Page[Contact]:
    """Returns contacts, newest first: by id, exact email, profile or company, or by words, each a part of the name, the
    email, the company or the title, in any order.

    Erased people are found by id alone.
    """
    statement = select(Contact)
    if contact_id is None:
        statement = statement.where(Contact.erased_at.is_(None))
    else:
        statement = statement.where(Contact.id == contact_id)
    if email is not None:
        statement = statement.where(func.lower(Contact.email) == email)
    if linkedin_url is not None:
        statement = statement.where(func.lower(Contact.linkedin_url) == linkedin_url.lower())
    if company is not None:
        statement = statement.where(func.lower(Contact.company) == func.lower(company))
    for word in words_of(search):
        statement = statement.where(_SEARCHED.icontains(word, autoescape=True))
    return page(session, statement, by=[Contact.id], limit=limit, cursor=cursor, listing="contacts")
