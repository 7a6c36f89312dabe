"""Who is meant by the rows of an enrolment, and what became of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.states import EnrollVerdict
from db.postgres.json import rows_parameter
from db.services.people import contacts


@dataclass(slots=True)
class Enrolled:
    """The answer for one person. `reason` says why somebody was not enrolled, or what else became of the row."""

    verdict: EnrollVerdict
    enrollment_id: UUID | None = None
    contact_id: UUID | None = None
    reason: str | None = None


_MERGED = "merged with an earlier row, which is about the same person"


def identify(
    session: Session, *, people: Mapping[int, ContactRef]
) -> tuple[dict[int, UUID], dict[int, Enrolled], dict[int, str | None]]:
    """Returns (row -> contact, made if need be; answers for rows that are nobody; row -> a note on it)."""
    found: dict[int, UUID] = {}
    notes: dict[int, str | None] = {}
    answers: dict[int, Enrolled] = {}
    by_id = {row: ref.contact_id for row, ref in people.items() if ref.contact_id is not None}
    known = contacts.existing(session, contact_ids=list(set(by_id.values())))
    for row, contact_id in by_id.items():
        if contact_id in known:
            found[row] = contact_id
        else:
            answers[row] = Enrolled(
                EnrollVerdict.INVALID, reason=f"no contact {contact_id}: look it up with find_contacts"
            )
    # A row that names a contact may give an address as well, which must not be lost.
    named = {row: ref for row, ref in people.items() if row not in found and row not in answers}
    named |= {row: people[row] for row in found if people[row].fields.email or people[row].fields.linkedin_url}
    fields = {row: _of_person(ref) for row, ref in named.items()}
    meant = {row: found[row] for row in named if row in found}
    for row, contact in contacts.find_or_create(session, people=fields, overwrite=False, contact_ids=meant).items():
        found.pop(row, None)
        if contact.contact_id is None:
            answers[row] = Enrolled(EnrollVerdict.INVALID, reason=contact.reason)
        else:
            found[row] = contact.contact_id
            notes[row] = _MERGED if contact.is_merged else contact.note
    return found, answers, notes


def _of_person(ref: ContactRef) -> ContactFields:
    """Returns what a row says of its person; of a contact that it names by id, the addresses alone."""
    fields = ref.fields
    return fields if ref.contact_id is None else ContactFields(fields.email, fields.linkedin_url)


LOCK_CONTACTS = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM contacts
        WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
        ORDER BY id FOR SHARE
    ) locked
""")


def lock_contacts(session: Session, *, contact_ids: Iterable[UUID]) -> None:
    """Keeps these people as they are, against a suppression, an absence or a new time zone under way."""
    session.execute(LOCK_CONTACTS, rows_parameter(list(set(contact_ids))))
