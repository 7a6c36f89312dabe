"""The fields of a person are named once, in ContactFields: no module leaves one out."""

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from sqlalchemy import String, text

from db.domain.contacts import CONTACT_ADDRESSES, CONTACT_FIELDS, CONTACT_TEXTS, ContactFields
from db.domain.ids import new_id
from db.models import Contact
from db.postgres.database import Database
from db.services.campaigns import step_texts
from db.services.dispatch import lint
from db.services.erasure import erasure
from db.services.people import contacts
from mcp_server.cli.exports import _SOURCES, What  # pyright: ignore[reportPrivateUsage] - the columns of the file
from mcp_server.jobs.people_files import read_table
from mcp_server.schemas.contacts import Cleared, ContactIn, ContactOut, EnrollIn

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = Contact.__table__.c
# What the server itself keeps of a person, besides what it is given.
KEPT = {"absent_from", "absent_until"}
OF_THE_PERSON = {column.name for column in COLUMNS} - {"id", "created_at", "updated_at", "erased_at"} - KEPT
GIVEN: dict[str, Any] = {
    **{name: f"some {name}" for name in CONTACT_TEXTS},
    "email": "ada@example.com",
    "linkedin_url": "https://www.linkedin.com/in/ada",
    "attributes": {"city": "Bonn"},
}
PERSON = ContactFields(**GIVEN)


def stored(database: Database) -> dict[str, Any]:
    with database.transaction("look") as session:
        return dict(session.execute(text("SELECT * FROM contacts")).mappings().one())


@pytest.mark.parametrize("overwrite", [False, True])
def test_every_column_of_a_person_is_written_and_changed(database: Database, overwrite: bool) -> None:
    with database.transaction("create") as session:
        contacts.find_or_create(session, people={0: ContactFields(email=PERSON.email)}, overwrite=overwrite)
    with database.transaction("change") as session:
        contacts.find_or_create(session, people={0: PERSON}, overwrite=overwrite)
    row = stored(database)
    assert {name: row[name] for name in OF_THE_PERSON} == PERSON.values()


def test_erasure_leaves_no_column_of_a_person(database: Database) -> None:
    with database.transaction("create") as session:
        contacts.find_or_create(session, people={0: PERSON}, overwrite=False)
    with database.transaction("be away") as session:
        session.execute(text("UPDATE contacts SET absent_from = now(), absent_until = now() + interval '1 day'"))
    kept = {name for name in OF_THE_PERSON | KEPT if stored(database)[name]}
    with database.transaction("erase") as session:
        erasure.erase(session, contact_id=stored(database)["id"], now=NOW)
    assert kept == OF_THE_PERSON | KEPT
    assert [name for name in kept if stored(database)[name]] == []


def test_what_a_call_gives_and_gets_has_every_field() -> None:
    assert list(ContactIn.model_fields) == [*CONTACT_FIELDS, "clear"]
    assert set(get_args(Cleared)) == set(CONTACT_TEXTS) - set(CONTACT_ADDRESSES)
    assert list(EnrollIn.model_fields) == ["contact_id", *CONTACT_FIELDS]
    assert set(ContactOut.model_fields) == {"id", "erased_at", "absent_until", *CONTACT_FIELDS}


def test_a_file_brings_every_text_and_takes_every_field() -> None:
    texts: dict[str, Any] = {name: GIVEN[name] for name in CONTACT_TEXTS} | {"timezone": "Europe/Berlin"}
    (record,) = read_table(",".join(texts) + "\n" + ",".join(texts.values())).records
    assert record.person == ContactFields(**texts)
    assert set(CONTACT_FIELDS) <= set(_SOURCES[What.ENROLLMENTS][1])


def test_a_step_may_use_every_field() -> None:
    texts = {name for name in CONTACT_FIELDS if isinstance(COLUMNS[name].type, String)}
    assert texts == set(CONTACT_TEXTS)
    assert set(CONTACT_ADDRESSES) <= texts
    known = step_texts.variables(Contact(**PERSON.values()), step_texts.Campaign(new_id(), "Q3", {}))
    assert {name: known[name] for name in CONTACT_FIELDS} == PERSON.values()
    assert set(CONTACT_FIELDS) < set(lint.KNOWN)
