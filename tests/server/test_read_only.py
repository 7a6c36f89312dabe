"""A read-only server writes nothing, and not because its tools are polite: the database refuses."""

from collections.abc import Callable

import pytest
from mcp.client import Client
from sqlalchemy import text
from sqlalchemy.exc import InternalError
from sqlalchemy.orm import Session

from db.domain.errors import Refused
from db.domain.states import SuppressionReason
from db.postgres.database import Database
from db.services.people import suppressions
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.server import call


def sneak(session: Session) -> None:
    suppressions.suppress(
        session,
        email="ann@example.com",
        reason=SuppressionReason.MANUAL,
        source=None,
    )


def test_a_service_below_the_tools_is_refused_by_the_database(make_app: Callable[..., App], database: Database) -> None:
    app = make_app(read_only=True)
    with pytest.raises(Refused, match="read-only"):
        app.run("sneak", sneak)
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM suppressions")) == 0
    make_app().run("no sneak", sneak)  # the same work in a server that may write
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM suppressions")) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO secrets (name, value) VALUES ('x', decode(repeat('00', 32), 'hex'))",
        "DELETE FROM contacts",
        "UPDATE campaign_instances SET name = 'x'",
        "CREATE TABLE extra (n int)",
        "SELECT * FROM contacts FOR UPDATE",
    ],
)
def test_raw_sql_is_refused_in_any_of_its_transactions(make_app: Callable[..., App], statement: str) -> None:
    app = make_app(read_only=True)
    with pytest.raises(InternalError, match="read-only transaction"), app.database().transaction("raw") as session:
        session.execute(text(statement))


@pytest.mark.anyio
async def test_it_still_answers_what_is_asked(make_app: Callable[..., App]) -> None:
    async with Client(build_server(make_app(read_only=True))) as client:
        assert (await call(client, "list_campaigns"))["campaigns"] == []
        assert (await call(client, "list_audit"))["records"] == []
        assert (await call(client, "get_health"))["status"] == "ok"
