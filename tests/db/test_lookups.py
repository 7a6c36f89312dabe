"""What is looked up among very many: what is found, and by which plan where the planner has a choice."""

import re
from collections.abc import Callable
from importlib import import_module
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.states import DeliveryStatus
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.postgres.json import rows_parameter
from db.services.campaigns import campaigns
from db.services.dispatch import lint
from db.services.enrollments import enrollments, overlaps
from db.services.events import deliveries
from db.services.people import colleagues, contacts
from docs.generate.regions import PAGES
from tests.support.campaigns import make_campaign
from tests.support.plans import NOW, campaign, watched

# One person in two is of a domain of many, and each of the others of a domain of their own.
PEOPLE = """
    INSERT INTO contacts (id, email)
    SELECT gen_random_uuid(), 'p' || n || '@' || CASE WHEN n % 2 = 0 THEN 'many' ELSE 'own' || n END || '.example'
    FROM generate_series(1, 20000) n
"""
# Ten of each company.
COMPANIES = """
    INSERT INTO contacts (id, email, company)
    SELECT gen_random_uuid(), 'p' || n || '@firm' || n % 2000 || '.example', 'Firm ' || n % 2000
    FROM generate_series(1, 20000) n
"""
ENROLLED = """
    INSERT INTO campaign_enrollments (instance_id, id, contact_id, status)
    SELECT :campaign, gen_random_uuid(), id, 'enrolled' FROM contacts
"""


def explained(connection: Connection, statement: str, parameters: object) -> str:
    return "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all())  # pyright: ignore[reportArgumentType, reportCallIssue]


def explained_for_any_parameters(connection: Connection, statement: str) -> str:
    """The plan that a prepared statement may keep once it was run some times."""
    numbers = iter(range(1, 10))
    numbered = re.sub(r"%\(\w+\)s", lambda _: f"${next(numbers)}", statement)
    assert "$1" in numbered
    connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    connection.exec_driver_sql(f"PREPARE looked_at AS {numbered}")
    given = ", ".join(["NULL"] * (next(numbers) - 1))
    plan = connection.exec_driver_sql(f"EXPLAIN EXECUTE looked_at({given})").scalars().all()
    connection.exec_driver_sql("DEALLOCATE looked_at")
    connection.exec_driver_sql("SET LOCAL plan_cache_mode = auto")
    return "\n".join(plan)


def plans_for_the_people_of(session: Session, domain: str) -> tuple[str, str]:
    connection = session.connection()
    with watched(connection) as seen:
        enrollments.list_(session, campaign_id=None, status=None, domain=domain, limit=50, cursor=None)
    statement, parameters = seen[0]
    return explained(connection, statement, parameters), explained_for_any_parameters(connection, statement)


def test_the_enrollments_of_a_domain_are_read_by_how_many_people_it_has(database: Database) -> None:
    with database.transaction("many people") as session:
        campaign_id = campaign(session)
        session.execute(text("SET LOCAL statement_timeout = 0"))  # that of the server is for its clients
        session.execute(text(PEOPLE))
        # Else each enrollment may look for its contact as in the empty table that it was.
        session.execute(text("ANALYZE contacts"))
        session.execute(text(ENROLLED), {"campaign": campaign_id})
        session.execute(text("ANALYZE contacts, campaign_enrollments"))
        few, average = plans_for_the_people_of(session, "own1.example")
        many, _ = plans_for_the_people_of(session, "many.example")
        session.rollback()
    for plan in (few, average):
        assert re.search(r"ix_contacts_domain.*\n\s*Index Cond: \(reverse", plan), plan
        assert re.search(r"uq_campaign_enrollments_contact_id_instance_id on", plan), plan
    # From the newest on, until a page is full.
    assert re.search(r"Index Scan Backward using ix_campaign_enrollments_id", many), many


def many_people(session: Session) -> UUID:
    """A campaign with people of many companies; PostgreSQL knows how many."""
    campaign_id = campaign(session)
    session.execute(text("SET LOCAL statement_timeout = 0"))
    session.execute(text(COMPANIES))
    session.execute(text("ANALYZE contacts"))
    session.execute(text(ENROLLED), {"campaign": campaign_id})
    session.execute(text("ANALYZE contacts, campaign_enrollments"))
    return campaign_id


def test_colleagues_are_found_by_their_domain_and_not_among_all_people(database: Database) -> None:
    asked = {0: ContactRef(None, ContactFields(email="ada@firm7.example"))}
    with database.transaction("many people") as session:
        many_people(session)
        connection = session.connection()
        with watched(connection) as seen:
            assert len(overlaps.find(session, people=asked, campaign_id=None)) == 10
        plan = explained(connection, *seen[0])
        assert "Seq Scan on campaign_enrollments" not in plan, plan
        companies = rows_parameter(["firm7.example"])
        with watched(connection) as seen:
            session.execute(colleagues.AT_COMPANIES, {**companies, "most": 500})
        plan += explained(connection, *seen[0])
        session.rollback()
    assert plan.count("ix_contacts_domain") == 2
    assert "Seq Scan on contacts" not in plan, plan


def test_a_campaign_that_goes_on_does_not_read_its_people(database: Database) -> None:
    with database.transaction("many people") as session:
        campaign_id = many_people(session)
        session.execute(text("UPDATE campaign_enrollments SET status = 'active', next_action_at = now()"))
        session.execute(text("ANALYZE campaign_enrollments"))
        campaigns.pause(session, campaign_id=campaign_id, now=NOW)
        connection = session.connection()
        with watched(connection) as seen:
            campaigns.start(session, campaign_id=campaign_id, now=NOW)
        of_people = [one for one in seen if "campaign_enrollments" in one[0]]
        found = [explained(connection, *one) for one in of_people]
        session.rollback()
    assert len(found) == 2
    for plan in found:
        assert "ix_campaign_enrollments_not_active" in plan, plan


def test_what_people_of_a_campaign_lack_is_not_looked_for_among_all_people(database: Database) -> None:
    with database.transaction("many people") as session:
        many_people(session)
        steps = [EmailStep(1, "Hello", "Hello {{ first_name }}, may I ask?")]
        small = campaigns.get(session, campaign_id=make_campaign(session, email_steps=steps))
        with watched(session.connection()) as seen:
            lint.of_campaign(session, campaign=small, public_url=None)
        plans = [explained(session.connection(), *one) for one in seen if "btrim" in one[0]]
        session.rollback()
    assert len(plans) == 1
    assert "Seq Scan on contacts" not in plans[0], plans[0]


def test_a_company_of_few_is_not_looked_for_among_all_people(database: Database) -> None:
    with database.transaction("many people") as session:
        many_people(session)
        connection = session.connection()
        with watched(connection) as seen:
            contacts.find(session, search=None, email=None, company="FIRM 7", limit=50, cursor=None)
        plan = explained(connection, *seen[0])
        session.rollback()
    assert re.search(r"ix_contacts_company.*\n\s*Index Cond", plan), plan


def test_a_colleague_is_at_the_domain_of_the_company_or_below_it_and_not_beside_it(database: Database) -> None:
    theirs = ("acme.example", "mail.acme.example", "a.b.c.acme.example")
    others = ("my-acme.example", "acme.example.net", "acme-sales.example", "example")
    with database.transaction("colleagues") as session:
        campaign_id = campaign(session)
        people = [ContactRef(None, ContactFields(email=f"ben@{domain}")) for domain in (*theirs, *others)]
        enrollments.enroll(session, campaign_id=campaign_id, people=dict(enumerate(people)), start_at=None, now=NOW)
        asked = {0: ContactRef(None, ContactFields(email="ada@acme.example"))}
        found = overlaps.find(session, people=asked, campaign_id=None)
        session.rollback()
    assert {overlap.email for overlap in found} == {f"ben@{domain}" for domain in theirs}


def test_failed_webhooks_are_found_by_their_index_in_a_plan_for_any_parameters(database: Database) -> None:
    with database.transaction("generic") as session:
        connection = session.connection()
        with watched(connection) as seen:
            deliveries.list_(
                session, provider=None, status=DeliveryStatus.FAILED, since=None, until=None, limit=50, cursor=None
            )
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = explained_for_any_parameters(connection, seen[0][0])
    assert re.search(r"ix_webhook_deliveries_unrecorded.*\n\s*Index Cond: \(status = 'failed'", plan), plan


def offered_by_the_documentation() -> str:
    page = (PAGES / "operations.md").read_text()
    offered = re.search(r"CREATE INDEX CONCURRENTLY \w+ ON contacts USING gin \((.+?) gin_trgm_ops\)", page, re.DOTALL)
    assert offered
    return offered[1]


def built_by_the_migration() -> str:
    return import_module("migrations.versions.0058_parts_of_names").SEARCHED


@pytest.mark.parametrize("expression", [offered_by_the_documentation, built_by_the_migration])
def test_the_index_of_parts_of_names_is_of_what_is_searched(database: Database, expression: Callable[[], str]) -> None:
    with database.transaction("compare") as session:
        connection = session.connection()
        # The embedded PostgreSQL has no pg_trgm. A B-tree of the same expression takes it in the same way.
        connection.exec_driver_sql(f"CREATE INDEX of_parts ON contacts ({expression()})")
        indexed = connection.scalar(
            text("SELECT pg_get_expr(indexprs, indrelid) FROM pg_index WHERE indexrelid = 'of_parts'::regclass")
        )
        with watched(connection) as seen:
            contacts.find(session, search="ada", email=None, company=None, limit=50, cursor=None)
        plan = explained(connection, *seen[0])
        session.rollback()
    assert f"({indexed} ~~* '%ada%'::text)" in plan, plan


def find(database: Database, *, search: str | None = None, company: str | None = None) -> list[str | None]:
    with database.transaction("find") as session:
        page = contacts.find(session, search=search, email=None, company=company, limit=50, cursor=None)
        return [row.email for row in page.rows]


def people(database: Database) -> None:
    ada = ContactFields("ada@example.com", None, "Ada", "Lovelace", "\u0130stanbul \u00c7elik", "100% owner")
    ben = ContactFields("ben@example.org", None, None, "Ada-Smith")
    with database.transaction("people") as session:
        contacts.find_or_create(session, people={0: ada, 1: ben}, overwrite=False)


def test_a_company_is_found_by_its_own_name_in_any_case(database: Database) -> None:
    people(database)
    for name in ("\u0130stanbul \u00c7elik", "\u0130STANBUL \u00c7ELIK"):
        assert find(database, company=name) == ["ada@example.com"]
    assert find(database, company="stanbul") == []


def test_a_search_finds_each_word_as_a_part_of_one_text_and_never_of_two(database: Database) -> None:
    people(database)
    ada, ben = "ada@example.com", "ben@example.org"
    for part in ("a lovel", "DA@EXAM", "bul \u00e7", "0% o", "\u0130stan"):
        assert find(database, search=part) == [ada], part
    assert find(database, search="ADA") == [ben, ada]
    assert find(database, search="smith") == [ben]
    assert find(database, search="ada@ Lovelace") == [ada]
    for nothing in ("ada_", "a%l", "Lovelace ben@", "lovelaceada", "celikowner"):
        assert find(database, search=nothing) == [], nothing
