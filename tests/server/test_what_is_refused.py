"""What must not pass: fields that nobody knows, bounces of no kind, keys of another tool, writes of tools that read."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mcp.client import Client
from pydantic import ValidationError
from sqlalchemy import event

from db.postgres.context import current
from docs.generate.examples import EXAMPLES
from mcp_server.calls.call import Mode
from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.process.app import App
from mcp_server.schemas.base import Given
from tests.support.server import call, new_campaign, refusal

OFFERED = [tool for toolset in TOOLSETS for tool in toolset.tools]
READS = sorted(tool.name for tool in OFFERED if tool.read_only and tool.mode is not Mode.LOCAL)
IN_ONE_TRANSACTION = [tool.name for tool in OFFERED if tool.name in READS and tool.mode is not Mode.APART]


def shapes(of: type[Given] = Given) -> Iterator[type[Given]]:
    for shape in of.__subclasses__():
        yield shape
        yield from shapes(shape)


def name_of(shape: type[Given]) -> str:
    return shape.__name__


SHAPES: list[type[Given]] = sorted(set(shapes()), key=name_of)


@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
def test_no_shape_of_what_clients_send_takes_a_field_that_it_does_not_know(shape: type[Given]) -> None:
    with pytest.raises(ValidationError) as info:
        shape.model_validate({"nobody_knows": 1})
    assert (("nobody_knows",), "extra_forbidden") in [(error["loc"], error["type"]) for error in info.value.errors()]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"daily_limits": 5}, "daily_limits"),
        ({"sending_window": {"start": "09:00", "end": "17:00", "until": "18:00"}}, "until"),
        ({"ramp_up": {"start": 1, "increase": 1, "stop": 9}}, "stop"),
        ({"senders": {"mail": {"account": "a@example.com"}}}, "mail"),
        ({"senders": {"email": {"account": "a@example.com", "limit": 3}}}, "limit"),
    ],
)
async def test_a_setting_that_is_misspelt_is_named(client: Client, settings: dict[str, Any], named: str) -> None:
    campaign = await new_campaign(client)
    said = await refusal(client, "update_campaign", campaign_id=campaign["campaign_id"], settings=settings)
    assert f"{named}: is not known" in said


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["medium", "HARD", "", None, 1, ["hard"]])
async def test_a_bounce_is_hard_or_soft(client: Client, kind: object) -> None:
    campaign = await new_campaign(client, people=1, start=True)
    given = {"event_type": "bounced", "channel": "email", "step_number": 1, "metadata": {"bounce_type": kind}}
    bounce = {**given, "enrollment_id": campaign["enrollment_ids"][0]}
    assert "metadata.bounce_type must be hard or soft" in await refusal(client, "record_event", event=bounce)
    (told,) = (await call(client, "record_events", events=[bounce]))["results"]
    assert (told["status"], "bounce_type" in told["reason"]) == ("invalid", True)


@pytest.mark.anyio
async def test_a_key_is_not_answered_for_another_tool_with_the_same_arguments(client: Client) -> None:
    campaign = await new_campaign(client, start=True)
    same = {"campaign_id": campaign["campaign_id"], "idempotency_key": "one key"}
    assert (await call(client, "pause_campaign", **same))["campaign"]["status"] == "paused"
    assert "another call of pause_campaign" in await refusal(client, "complete_campaign", **same)
    found = await call(client, "get_campaign", campaign_id=campaign["campaign_id"])
    assert found["campaign"]["status"] == "paused"


@pytest.mark.anyio
async def test_the_database_itself_lets_tools_that_read_write_nothing(make_app: Callable[..., App]) -> None:
    app = make_app()
    seen: dict[str, set[str]] = defaultdict(set)

    def look(connection: Any, *_: object) -> None:
        transaction = current.get()
        if transaction is not None:
            shown = connection.connection.driver_connection.execute("SHOW transaction_read_only")
            seen[transaction.description].add(shown.fetchone()[0])

    event.listen(app.database().engine, "before_cursor_execute", look)
    async with Client(build_server(app)) as client:
        for tool in READS:
            await client.call_tool(tool, dict(EXAMPLES[tool]))
        assert set(IN_ONE_TRANSACTION) <= set(seen)
        assert {name: is_on for name, is_on in seen.items() if is_on != {"on"}} == {}
        await call(client, "suppress", email="ann@example.com")
    assert seen["suppress"] == {"off"}
