"""What is proposed while an argument or an id is typed: by the start of the id or of the name, the newest first."""

from collections.abc import Callable
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import Completion, PromptReference, ResourceTemplateReference
from sqlalchemy import text

from db.domain.ids import new_ids
from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.server import call, new_campaign

pytestmark = pytest.mark.anyio


async def of_prompt(client: Client, prompt: str, argument: str, typed: str = "") -> Completion:
    reference = PromptReference(type="ref/prompt", name=prompt)
    return (await client.complete(reference, {"name": argument, "value": typed})).completion


async def of_resource(client: Client, noun: str, typed: str = "", argument: str = "id") -> Completion:
    reference = ResourceTemplateReference(type="ref/resource", uri=f"{noun}://{{id}}")
    return (await client.complete(reference, {"name": argument, "value": typed})).completion


async def template(client: Client, name: str = "T") -> str:
    step = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}
    made = await call(client, "create_template", name=name, type="email", email_steps=[step])
    return made["template"]["id"]


async def campaigns(client: Client, *names: str) -> list[str]:
    template_id = await template(client)
    made = [await call(client, "create_campaign", name=name, template_id=template_id) for name in names]
    return [answer["campaign"]["id"] for answer in made]


async def test_the_capability_is_declared(client: Client) -> None:
    assert client.server_capabilities.completions is not None
    assert client.server_capabilities.prompts is not None
    assert client.server_capabilities.resources is not None


async def test_campaigns_are_found_by_name_in_either_case_and_the_newest_comes_first(client: Client) -> None:
    autumn, spring, again = await campaigns(client, "Autumn in Köln", "Spring", "AUTUMN again")
    for prompt in ("work_due_actions", "weekly_report", "triage_replies"):
        found = await of_prompt(client, prompt, "campaign_id", "autumn")
        assert found.values == [again, autumn]
        assert (found.total, found.has_more) == (2, False)
    assert (await of_prompt(client, "weekly_report", "campaign_id", "autumn in kÖ")).values == [autumn]
    assert (await of_resource(client, "campaign", "SPR")).values == [spring]
    assert (await of_resource(client, "campaign")).values == [again, spring, autumn]


async def test_campaigns_are_found_by_the_start_of_their_id(client: Client) -> None:
    first, second = await campaigns(client, "One", "Two")
    assert (await of_resource(client, "campaign", first)).values == [first]
    assert (await of_resource(client, "campaign", f" {second.upper()} ")).values == [second]
    both = (await of_resource(client, "campaign", first[:9])).values
    assert both == [second, first]
    wrong = "f" if first[0] != "f" else "e"
    assert (await of_resource(client, "campaign", wrong)).values == []
    assert (await of_resource(client, "campaign", first.replace("-", ""))).values == []


@pytest.mark.parametrize("typed", ["%", "_", "\\", "'", "a\x00b", "\ud7ff", "x" * 100_000, "-", "{", "\u0661"])
async def test_no_typed_text_is_a_pattern_or_an_error(client: Client, typed: str) -> None:
    await campaigns(client, "Autumn")
    for noun in ("campaign", "template", "enrollment"):
        assert (await of_resource(client, noun, typed)).values == []


async def test_templates_in_use_are_found(client: Client) -> None:
    old, kept = await template(client, "Welcome"), await template(client, "welcome back")
    assert (await of_resource(client, "template", "WELCOME")).values == [kept, old]
    await call(client, "archive_template", template_id=old)
    assert (await of_resource(client, "template", "WELCOME")).values == [kept]
    assert (await of_resource(client, "template", old)).values == []


async def test_enrollments_are_found_by_id_and_by_the_person(client: Client) -> None:
    (campaign_id,) = await campaigns(client, "C")
    people = [
        {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"},
        {"email": "bo@example.com", "first_name": "Bo", "last_name": "Adams"},
        {"linkedin_url": "https://www.linkedin.com/in/cy", "first_name": "Cy"},
    ]
    enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=people, detail="full")
    ada, bo, cy = (row["enrollment_id"] for row in enrolled["results"])
    newest_first = sorted((ada, bo, cy), reverse=True)
    assert (await of_resource(client, "enrollment")).values == newest_first
    assert (await of_resource(client, "enrollment", bo)).values == [bo]
    assert (await of_resource(client, "enrollment", "ADA")).values == sorted((ada, bo), reverse=True)
    assert (await of_resource(client, "enrollment", "ada love")).values == [ada]
    assert (await of_resource(client, "enrollment", "bo@ex")).values == [bo]
    assert (await of_resource(client, "enrollment", "lovel")).values == [ada]
    assert (await of_resource(client, "enrollment", "Cy")).values == []  # two letters are too few to look at all people


def add_campaigns(database: Database, template_id: str, count: int) -> list[str]:
    ids = [str(id_) for id_ in new_ids(count)]
    insert = text(
        "INSERT INTO campaign_instances (id, template_id, name) SELECT unnest(CAST(:ids AS uuid[])), :template, 'Many'"
    )
    with database.transaction("many") as session:
        session.execute(insert, {"ids": ids, "template": template_id})
    return sorted(ids, reverse=True)


@pytest.mark.parametrize(("count", "total", "has_more"), [(100, 100, False), (101, 101, True), (1001, None, True)])
async def test_at_most_a_hundred_are_shown_and_it_is_said_how_many_there_are(
    client: Client, database: Database, count: int, total: int | None, has_more: bool
) -> None:
    ids = add_campaigns(database, await template(client), count)
    found = await of_prompt(client, "weekly_report", "campaign_id", "man")
    assert found.values == ids[:100]
    assert (found.total, found.has_more) == (total, has_more)


async def test_values_that_are_few_are_proposed(client: Client) -> None:
    assert (await of_prompt(client, "plan_campaign", "channels", "l")).values == ["linkedin"]
    weeks = (await of_prompt(client, "weekly_report", "week")).values
    assert weeks[:2] == ["2026-W44", "2026-W43"]  # it is Monday, 2 November
    assert (await of_prompt(client, "plan_campaign", "goal", "x")).values == []


async def test_what_is_not_there_is_refused_with_what_is(client: Client) -> None:
    cases: list[tuple[Any, str]] = [
        (of_prompt(client, "sell", "goal"), "plan_campaign"),
        (of_prompt(client, "weekly_report", "month"), "week"),
        (of_resource(client, "contact"), "campaign://{id}"),
        (of_resource(client, "campaign", argument="name"), "campaign://{id}"),
    ]
    for asked, named in cases:
        with pytest.raises(MCPError) as refusal:
            await asked
        assert refusal.value.error.code == -32602
        assert named in refusal.value.error.message


async def test_completions_go_with_toolsets_and_work_read_only(make_app: Callable[..., App]) -> None:
    async with Client(build_server(make_app())) as writer:
        scene = await new_campaign(writer)
    async with Client(build_server(make_app(read_only=True, toolsets="campaigns"))) as client:
        assert (await of_resource(client, "campaign", "c")).values == [scene["campaign_id"]]
        for asked in (of_resource(client, "enrollment"), of_prompt(client, "plan_campaign", "channels")):
            with pytest.raises(MCPError):
                await asked


async def test_without_a_database_the_reason_is_said(make_app: Callable[..., App]) -> None:
    app = make_app()
    async with Client(build_server(app)) as client:
        await client.list_prompts()
        app.close()
        with pytest.raises(MCPError, match="stopping"):
            await of_resource(client, "campaign", "x")
