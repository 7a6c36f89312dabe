"""Templates with their steps: read in few statements, shown while they are in use, and gone as a whole."""

from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from db.domain.states import LinkedInStepType, PathType, TemplateType
from db.domain.templates import EmailStep, LinkedInStep
from db.models import CampaignTemplate
from db.postgres.database import Database
from db.services.campaigns import templates
from db.services.reports import typeahead
from tests.support.campaigns import statements_of


def make(session: Session) -> UUID:
    made = templates.create(
        session,
        name="Tour",
        type=TemplateType.MULTI_CHANNEL,
        path_type=PathType.STRUCTURED,
        description=None,
        settings={},
        email_steps=[EmailStep(number, "Hello", "Nice to meet you.") for number in (1, 3, 5)],
        linkedin_steps=[LinkedInStep(number, LinkedInStepType.MESSAGE, "Hello") for number in (2, 4)],
    )
    return made.id


def shown(session: Session, *, archived: bool) -> list[UUID]:
    page = templates.list_(session, type=None, include_archived=archived, limit=50, cursor=None, with_texts=False)
    return [template.id for template in page.rows]


@pytest.mark.parametrize("with_texts", [True, False])
def test_the_two_kinds_of_steps_are_read_each_by_themselves(database: Database, with_texts: bool) -> None:
    """Read in one, each email step would come once for each LinkedIn step."""
    template_id = database.run("make", make)

    def read(session: Session) -> None:
        found = templates.get(session, template_id=template_id)
        assert (len(found.email_steps), len(found.linkedin_steps)) == (3, 2)
        session.expunge_all()
        (line,) = templates.list_(
            session, type=None, include_archived=False, limit=50, cursor=None, with_texts=with_texts
        ).rows
        assert (len(line.email_steps), len(line.linkedin_steps)) == (3, 2)

    statements = statements_of(database, lambda: database.run("read", read))
    assert [
        statement for statement in statements if "email_sequences" in statement and "linkedin_sequences" in statement
    ] == []
    assert len(statements) == 6


def test_steps_that_were_not_asked_for_are_not_read_one_template_at_a_time(database: Database) -> None:
    database.run("make", make)
    with database.transaction("look") as session:
        bare = session.scalars(select(CampaignTemplate)).one()
        with pytest.raises(InvalidRequestError, match="email_steps"):
            _ = bare.email_steps
        with pytest.raises(InvalidRequestError, match="linkedin_steps"):
            _ = bare.linkedin_steps


def test_an_archived_template_is_shown_to_whoever_asks_for_those_too(database: Database) -> None:
    kept, archived = database.run("make", make), database.run("make", make)
    database.run("archive", lambda session: templates.archive(session, template_id=archived))
    with database.transaction("look") as session:
        assert shown(session, archived=False) == [kept]
        assert shown(session, archived=True) == [archived, kept]
        assert typeahead.templates(session, typed="tour", limit=10) == [kept]
        assert typeahead.templates(session, typed=str(archived), limit=10) == []


COUNTS = text("""
    SELECT (SELECT count(*) FROM template_steps), (SELECT count(*) FROM email_sequences),
           (SELECT count(*) FROM linkedin_sequences)
""")


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("DELETE FROM campaign_templates", (0, 0, 0)),
        ("DELETE FROM template_steps WHERE step_number > 2", (2, 1, 1)),
    ],
)
def test_whoever_deletes_a_template_or_a_step_by_hand_leaves_nothing_of_it(
    database: Database, statement: str, left: tuple[int, int, int]
) -> None:
    database.run("make", make)
    with database.transaction("delete") as session:
        assert tuple(session.execute(COUNTS).one()) == (5, 3, 2)
        session.execute(text(statement))
        assert tuple(session.execute(COUNTS).one()) == left
