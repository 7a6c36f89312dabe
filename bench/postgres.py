"""A PostgreSQL of the benchmark's own, and a campaign with people in it."""

import gc
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.states import PathType, TemplateType
from db.domain.templates import EmailStep
from db.embedded import EmbeddedPostgres
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.enrollments import enrollments
from migrations.runner import migrate

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


@contextmanager
def embedded() -> Generator[EmbeddedPostgres]:
    """An embedded PostgreSQL, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="sales-bench-") as home, EmbeddedPostgres(Path(home)) as server:
        yield server


@contextmanager
def database() -> Generator[Database]:
    """A database with the schema. Its statements may take as long as they need."""
    with embedded() as server, database_of(server) as opened:
        yield opened


@contextmanager
def database_of(server: EmbeddedPostgres) -> Generator[Database]:
    """The database of this server, with the schema."""
    opened = Database.open(DatabaseConfig(url=server.start(), statement_timeout=600))
    migrate(opened.engine)
    gc.collect()
    gc.freeze()  # as the server does once it is up
    yield opened
    opened.close()


def campaign(database: Database, *, steps: int = 1) -> UUID:
    """An active campaign of some emails with two variants each."""

    def make(session: Session) -> UUID:
        template = templates.create(
            session,
            name="Bench",
            type=TemplateType.EMAIL,
            path_type=PathType.STRUCTURED,
            description=None,
            settings={},
            email_steps=[
                EmailStep(step, "Subject", "Body of the mail", a_b_variant=variant)
                for step in range(1, steps + 1)
                for variant in "AB"
            ],
            linkedin_steps=[],
        )
        made = campaigns.create(session, name="Bench", template_id=template.id, settings={}, provider_config={})
        campaigns.start(session, campaign_id=made.id, now=NOW)
        return made.id

    return database.run("campaign", make)


def people(count: int, prefix: str) -> dict[int, ContactRef]:
    """New people with the fields that a list of leads has."""
    return {
        index: ContactRef(
            None,
            ContactFields(
                email=f"{prefix}{index}@example.com",
                linkedin_url=f"https://www.linkedin.com/in/{prefix}{index}",
                first_name="Jane",
                last_name="Doe",
                company="Acme",
                title="Head of Sales",
            ),
        )
        for index in range(count)
    }


def enroll(database: Database, campaign_id: UUID, count: int, prefix: str) -> list[UUID]:
    """The enrollments of `count` new people."""
    refs = people(count, prefix)
    answers = database.run(
        "enroll",
        lambda session: enrollments.enroll(session, campaign_id=campaign_id, people=refs, start_at=None, now=NOW),
    )
    return [answer.enrollment_id for answer in answers.values() if answer.enrollment_id is not None]
