"""The fields of a person are named once, in ContactFields: no module leaves one out."""

from datetime import UTC, datetime
from typing import Any

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
from mcp_server.jobs.csv_rows import parse
from mcp_server.schemas.contacts import ContactIn, ContactOut, EnrollIn

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = Contact.__table__.c
OF_THE_PERSON = {column.name for column in COLUMNS} - {"id", "created_at", "updated_at", "erased_at"}
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
    kept = {name for name in OF_THE_PERSON if stored(database)[name]}
    with database.transaction("erase") as session:
        erasure.erase(session, contact_id=stored(database)["id"], now=NOW)
    assert kept == OF_THE_PERSON
    assert [name for name in kept if stored(database)[name]] == []


def test_what_a_call_gives_and_gets_has_every_field() -> None:
    given = set(ContactIn.model_fields)
    assert given == set(CONTACT_FIELDS)
    assert list(EnrollIn.model_fields) == ["contact_id", *ContactIn.model_fields]
    assert set(ContactOut.model_fields) == {"id", "erased_at", *CONTACT_FIELDS}


def test_a_file_brings_every_text_and_takes_every_field() -> None:
    (row,) = parse(",".join(CONTACT_TEXTS) + "\n" + ",".join(f"a {name}" for name in CONTACT_TEXTS), {})
    assert row == {name: f"a {name}" for name in CONTACT_TEXTS}
    assert set(CONTACT_FIELDS) <= set(_SOURCES[What.ENROLLMENTS][1])


def test_a_step_may_use_every_field() -> None:
    texts = {name for name in CONTACT_FIELDS if isinstance(COLUMNS[name].type, String)}
    assert texts == set(CONTACT_TEXTS)
    assert set(CONTACT_ADDRESSES) <= texts
    known = step_texts.variables(Contact(**PERSON.values()), step_texts.Campaign(new_id(), "Q3", {}))
    assert {name: known[name] for name in CONTACT_FIELDS} == PERSON.values()
    assert set(CONTACT_FIELDS) < set(lint.KNOWN)
