"""Every request of the protocol, sent with a token of each scope: who may not read is told nothing that is kept."""

import json
from typing import Any, get_args

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import ClientRequest, Request
from pydantic import BaseModel, ConfigDict

from db.domain.access import Scope
from db.postgres.database import Database
from tests.support.patience import PATIENCE
from tests.support.processes import ERAS, TOKEN, http_server
from tests.support.server import call, new_campaign
from tests.support.tokens import connected, new_token

pytestmark = pytest.mark.anyio


class Anything(BaseModel):
    """An answer, whatever it is."""

    model_config = ConfigDict(extra="allow")


SECRET = "person0@example.com"
# What tells of the offer alone, and is for everybody.
OPEN: dict[str, dict[str, Any]] = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
    "server/discover": {},
    "ping": {},
    "logging/setLevel": {"level": "info"},
    "tools/list": {},
    "prompts/list": {},
    "resources/list": {},
    "resources/templates/list": {},
}
OF_READERS: dict[str, dict[str, Any]] = {
    "tools/call": {"name": "find_contacts", "arguments": {"search": "person"}},
    "prompts/get": {"name": "weekly_report", "arguments": {}},
    "resources/read": {"uri": "enrollment://{enrollment_id}"},
    "resources/subscribe": {"uri": "enrollment://{enrollment_id}"},
    "resources/unsubscribe": {"uri": "enrollment://{enrollment_id}"},
    "completion/complete": {
        "ref": {"type": "ref/resource", "uri": "enrollment://{{id}}"},
        "argument": {"name": "id", "value": "person0"},
    },
    "subscriptions/listen": {"notifications": {"toolsListChanged": True}},
}


def methods() -> set[str]:
    return {kind.model_fields["method"].default for kind in get_args(ClientRequest)}


def filled(value: Any, enrollment_id: str) -> Any:
    """The parameters, with the id of the one who is enrolled."""
    written = json.dumps(value).replace("{enrollment_id}", enrollment_id).replace("{{id}}", "{id}")
    return json.loads(written)


async def said(client: Client, method: str, params: dict[str, Any]) -> str:
    """The answer, or the error, as text."""
    request = Request[dict[str, Any], str](method=method, params=params)
    try:
        answer = await client.session.send_request(request, Anything, PATIENCE)
    except MCPError as error:
        return error.error.model_dump_json()
    return answer.model_dump_json()


def test_each_request_of_the_protocol_is_looked_at() -> None:
    assert methods() == OPEN.keys() | OF_READERS.keys()


@pytest.mark.parametrize("how", [*ERAS, "sse"])
async def test_only_a_token_that_may_read_is_told_what_is_kept(database: Database, database_url: str, how: str) -> None:
    held = {scope: new_token(database, scope.value, scope) for scope in Scope}
    with http_server(database_url, SALES_AUTOMATION_TOKEN=TOKEN) as base:
        async with connected(base, TOKEN, how) as client:
            scene = await new_campaign(client, people=1)
            known = filled(OF_READERS, scene["enrollment_ids"][0])
        for scope, token in held.items():
            async with connected(base, token, how) as client:
                for method in methods() - {"initialize", "subscriptions/listen"}:
                    answer = await said(client, method, {**OPEN, **known}[method])
                    is_refused = "needs the scope read" in answer
                    assert is_refused == (method in known and scope is not Scope.READ), (scope, method, answer)
                    assert SECRET not in answer or scope is Scope.READ, (scope, method)
                if scope is Scope.READ:
                    assert scene["enrollment_ids"][0] in await said(
                        client, "completion/complete", known["completion/complete"]
                    )
                else:
                    listening = await said(client, "subscriptions/listen", known["subscriptions/listen"])
                    assert "needs the scope read" in listening


async def test_who_may_read_may_listen(database: Database, database_url: str) -> None:
    reader = new_token(database, "reader", Scope.READ)
    with http_server(database_url) as base:
        async with connected(base, reader, "auto") as client, client.listen(tools_list_changed=True):
            await call(client, "list_campaigns")
