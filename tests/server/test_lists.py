"""Lists read no more than they show, and show no more than a client can take."""

import unicodedata
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest
from mcp.client import Client
from sqlalchemy import event, text

from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.server import NOW, call, new_campaign, refusal

pytestmark = pytest.mark.anyio

MEBIBYTE = 1_048_576


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app()


@pytest.fixture
async def client(app: App) -> AsyncIterator[Client]:
    async with Client(build_server(app)) as connected:
        yield connected


async def statements_of(app: App, client: Client, tool: str, **arguments: Any) -> str:
    """The SQL that a call runs."""
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(app.database().engine, "before_cursor_execute", note)
    await call(client, tool, **arguments)
    event.remove(app.database().engine, "before_cursor_execute", note)
    return "\n".join(seen)


def received(database: Database, *sizes: int) -> None:
    """Requests with bodies of these sizes, the last one latest."""
    with database.transaction("received") as session:
        for number, size in enumerate(sizes):
            session.execute(
                text("""
                    INSERT INTO webhook_deliveries (id, provider, received_at, body, body_hash, status, recorded_at)
                    VALUES (CAST(lpad(:n, 32, '0') AS uuid), 'resend', :at, convert_to(repeat(:letter, :size), 'UTF8'),
                            sha256(CAST(:n AS bytea)), 'recorded', :at)
                """),
                {"n": str(number), "at": NOW, "letter": "abcdefgh"[number], "size": size},
            )


async def test_a_list_of_requests_reads_bodies_only_to_show_them(app: App, client: Client, database: Database) -> None:
    received(database, 10)
    assert "body" not in await statements_of(app, client, "list_webhook_deliveries")
    assert "body" in await statements_of(app, client, "list_webhook_deliveries", detail="full")


@pytest.mark.parametrize("given", [{}, {"provider": "resend"}])
async def test_a_page_of_bodies_ends_before_it_is_too_large(
    client: Client, database: Database, given: dict[str, Any]
) -> None:
    received(database, 10, 3 * MEBIBYTE, 600_000, 600_000, 10)
    pages: list[list[int]] = []
    cursor: str | None = None
    shown: list[dict[str, Any]] = []
    while True:
        page = await call(client, "list_webhook_deliveries", detail="full", limit=4, cursor=cursor, **given)
        pages.append([len(row["body"]) for row in page["deliveries"]])
        shown += page["deliveries"]
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    assert pages == [[10, 600_000], [600_000], [MEBIBYTE], [10]]
    assert [row["body"][0] for row in shown] == ["e", "d", "c", "b", "a"]
    assert [row.get("body_bytes") for row in shown] == [None, None, None, 3 * MEBIBYTE, None]


async def test_a_list_of_templates_reads_texts_only_to_show_them(app: App, client: Client) -> None:
    emails = [{"step_number": 1, "subject": "Hello", "body": "Good morning, all", "a_b_variant": v} for v in "AB"]
    messages = [{"step_number": 2, "type": "message", "message": "Good morning"}]
    made = await call(
        client, "create_template", name="T", type="multi_channel", email_steps=emails, linkedin_steps=messages
    )
    seen = await statements_of(app, client, "list_templates")
    assert "step_number" in seen
    assert not [name for name in ("subject", "body", "message", "settings") if name in seen]
    concise = (await call(client, "list_templates"))["templates"]
    assert [(row["step_count"], row["name"], "template" in row) for row in concise] == [(2, "T", False)]
    full = (await call(client, "list_templates", detail="full"))["templates"]
    assert [row["template"] for row in full] == [made["template"]]


async def found(client: Client, search: str) -> list[int]:
    """How many campaigns and people a search finds."""
    listed = await call(client, "list_campaigns", search=search), await call(client, "find_contacts", search=search)
    return [len(listed[0]["campaigns"]), len(listed[1]["contacts"])]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
async def test_a_search_finds_accents_however_they_are_composed(client: Client, form: Literal["NFC", "NFD"]) -> None:
    name = unicodedata.normalize(form, "Zoë Café")
    scene = await new_campaign(client)
    await call(client, "update_campaign", campaign_id=scene["campaign_id"], name=name)
    await call(client, "upsert_contacts", contacts=[{"email": "zoe@example.com", "company": name}])
    for other in ("NFC", "NFD"):
        assert await found(client, unicodedata.normalize(other, "café zoë")) == [1, 1]


async def test_a_search_looks_for_every_word_once_and_refuses_what_it_would_leave_out(app: App, client: Client) -> None:
    words = "one two three four five six seven eight nine ten"
    scene = await new_campaign(client)
    await call(client, "update_campaign", campaign_id=scene["campaign_id"], name=words)
    await call(client, "upsert_contacts", contacts=[{"email": "one@example.com", "company": words}])
    assert await found(client, f"{words} TWO Three two") == [1, 1]
    seen = await statements_of(app, client, "find_contacts", search="one ONE one")
    assert seen.count("LIKE") == 1
    for tool in ("list_campaigns", "find_contacts"):
        assert "11 words, and 10 are looked for" in await refusal(client, tool, search=f"{words} eleven")
