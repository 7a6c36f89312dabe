"""Single records as JSON resources, read and refused."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextResourceContents

from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.offers.resources.catalogue import RESOURCES
from mcp_server.process.app import App
from tests.support.server import call, new_campaign

pytestmark = pytest.mark.anyio


async def read(client: Client, uri: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    assert content.uri == uri
    return json.loads(content.text)


async def refused(client: Client, uri: str) -> tuple[int, str]:
    with pytest.raises(MCPError) as refusal:
        await client.read_resource(uri)
    return refusal.value.error.code, refusal.value.error.message


async def test_the_templates_are_listed_with_what_they_give(client: Client) -> None:
    listed = {
        template.uri_template: template for template in (await client.list_resource_templates()).resource_templates
    }
    assert set(listed) == {"campaign://{id}", "template://{id}", "enrollment://{id}"}
    for resource in listed.values():
        assert resource.mime_type == "application/json"
        assert resource.title
        assert resource.description
    assert all(resource.uri.startswith("ui://") for resource in (await client.list_resources()).resources)


async def test_a_campaign_is_what_its_tools_answer(client: Client) -> None:
    scene = await new_campaign(client, people=2, start=True)
    campaign_id = scene["campaign_id"]
    record = await read(client, f"campaign://{campaign_id}")
    assert record["campaign"] == (await call(client, "get_campaign", campaign_id=campaign_id))["campaign"]
    assert record["metrics"] == await call(client, "get_metrics", campaign_id=campaign_id)
    assert record["metrics"]["enrolled"] == 2
    assert record["explain_due"] == await call(client, "explain_due", campaign_id=campaign_id)
    assert record["explain_due"]["due"] is True


async def test_a_campaign_says_what_its_texts_lack(client: Client) -> None:
    step = {"step_number": 1, "subject": "Hello", "body": "About {{ campaign.offer }}, {{ nickname }}"}
    template = (await call(client, "create_template", name="T", type="email", email_steps=[step]))["template"]
    made = await call(client, "create_campaign", name="C", template_id=template["id"])
    warnings = (await read(client, f"campaign://{made['campaign']['id']}"))["warnings"]
    assert any("campaign.offer" in warning for warning in warnings)
    record = await read(client, f"template://{template['id']}")
    assert record["template"] == (await call(client, "get_template", template_id=template["id"]))["template"]
    assert ["nickname" in warning for warning in record["warnings"]] == [True]


async def test_an_enrollment_is_what_its_tools_answer(client: Client) -> None:
    scene = await new_campaign(client, people=1)
    (enrollment_id,) = scene["enrollment_ids"]
    record = await read(client, f"enrollment://{enrollment_id}")
    answer = await call(client, "get_enrollment", enrollment_id=enrollment_id)
    assert record["enrollment"] == answer["enrollment"]
    assert record["explain_due"] == await call(client, "explain_due", enrollment_id=enrollment_id)
    assert record["explain_due"]["holds"][0]["reason"] == "campaign_not_started"


async def test_a_text_with_a_link_to_unsubscribe_holds_nothing_back(make_app: Callable[..., App]) -> None:
    async with Client(build_server(make_app(public_url="https://outreach.example.com"))) as client:
        step = {"step_number": 1, "subject": "Hello", "body": "Good morning. {{ unsubscribe_url }}"}
        template = await call(client, "create_template", name="T", type="email", email_steps=[step])
        made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
        campaign_id = made["campaign"]["id"]
        enrolled = await call(
            client, "enroll_contacts", campaign_id=campaign_id, contacts=[{"email": "ann@example.com"}]
        )
        await call(client, "start_campaign", campaign_id=campaign_id)
        for uri in (f"campaign://{campaign_id}", f"enrollment://{enrolled['results'][0]['enrollment_id']}"):
            record = await read(client, uri)
            assert record["explain_due"]["holds"] == []
            assert record.get("warnings", []) == []
            assert "/unsubscribe/" not in json.dumps(record)  # whoever has the link can stop the person


@pytest.mark.parametrize(
    ("noun", "next_call"),
    [("campaign", "list_campaigns"), ("template", "list_templates"), ("enrollment", "list_enrollments")],
)
async def test_an_id_that_does_not_exist_or_is_none_is_refused_with_the_next_call(
    client: Client, noun: str, next_call: str
) -> None:
    unknown = str(uuid4())
    code, told = await refused(client, f"{noun}://{unknown}")
    assert code == -32602
    assert unknown in told
    assert next_call in told
    for bad in (
        "Autumn",
        "1",
        f"{unknown}/steps",
        "..",
        "%00",
        "' OR 1=1 --",
        "",
        f"{{{unknown}}}",
        unknown.replace("-", ""),
    ):
        code, told = await refused(client, f"{noun}://{bad}")
        assert code == -32602
        assert next_call in told
        assert "SELECT" not in told


@pytest.mark.parametrize("uri", ["contact://1", "campaigns://x", "file:///etc/passwd", "Campaign://x"])
async def test_an_address_of_nothing_is_refused_with_those_there_are(client: Client, uri: str) -> None:
    code, told = await refused(client, uri)
    assert code == -32602
    assert "campaign://ID, template://ID, enrollment://ID" in told


async def test_without_a_database_the_reason_is_said(make_app: Callable[..., App]) -> None:
    app = make_app()
    async with Client(build_server(app)) as client:
        await client.list_resource_templates()
        app.close()
        _, told = await refused(client, f"campaign://{uuid4()}")
        assert "stopping" in told


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"toolsets": "campaigns"}, {"campaign", "template"}),
        ({"toolsets": "contacts,metrics"}, {"enrollment"}),
        ({"toolsets": "jobs"}, set[str]()),
        ({"read_only": True}, {"campaign", "template", "enrollment"}),
    ],
)
async def test_resources_go_with_their_toolsets_and_are_there_to_read(
    make_app: Callable[..., App], settings: dict[str, Any], expected: set[str]
) -> None:
    async with Client(build_server(make_app(**settings))) as client:
        listed = (await client.list_resource_templates()).resource_templates
        assert {resource.name for resource in listed} == expected
        for noun in ("campaign", "template", "enrollment"):
            _, told = await refused(client, f"{noun}://{uuid4()}")
            assert told.startswith(f"No {noun} " if noun in expected else "No resource has this address")
            assert (f"{noun}://ID" in (client.instructions or "")) is (noun in expected)


async def test_a_read_only_server_reads_what_another_wrote(make_app: Callable[..., App]) -> None:
    async with Client(build_server(make_app())) as writer:
        scene = await new_campaign(writer, people=1, start=True)
    async with Client(build_server(make_app(read_only=True))) as reader:
        assert (await read(reader, f"campaign://{scene['campaign_id']}"))["metrics"]["enrolled"] == 1
        assert (await read(reader, f"enrollment://{scene['enrollment_ids'][0]}"))["explain_due"]["due"] is True


async def test_every_resource_of_a_toolset_is_in_the_catalogue() -> None:
    named = [noun for toolset in TOOLSETS for noun in toolset.resources]
    assert sorted(named) == sorted(resource.noun for resource in RESOURCES)
