"""A cursor that a list did not give is refused as such by every list, however well it is made."""

import inspect
from base64 import urlsafe_b64encode
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as some
from mcp.client import Client

from db.domain.errors import InvalidInput
from db.services.paging import decode_cursor, encode_cursor, seal
from mcp_server.calls.toolsets import TOOLSETS
from tests.support.server import NOW, new_campaign, refusal

ID = b"u" + UUID(int=7).bytes
MOMENT = b"t" + (0).to_bytes(8)
CRAFTED = [
    b"",
    b"u",
    b"u" + b"7" * 15,
    b"t" + b"7",
    b"t" + b"\x7f" * 8,
    b"t" + b"\x80" + b"\0" * 7,
    b"x" * 17,
    ID + ID,
    ID + MOMENT,
    MOMENT,
    MOMENT + MOMENT,
    b"t" + b"\x7f" * 8 + ID,
    MOMENT + b"u" + b"7" * 15,
    MOMENT + ID + b"\0",
    ID + ID + ID,
]
# tool -> what its cursors are sealed with, and what else a call of it takes
LISTS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "list_templates": ("templates", [{}]),
    "list_campaigns": ("campaigns", [{}]),
    "list_enrollments": ("enrollments", [{}]),
    "find_contacts": ("contacts", [{}]),
    "list_suppressions": ("suppressions", [{}]),
    "list_events": ("events", [{"event_type": "opened"}]),
    "list_orphaned_events": ("orphans", [{}]),
    "list_webhook_deliveries": ("deliveries", [{}, {"provider": "resend"}]),
    "list_threads": ("threads", [{}]),
    "list_drafts": ("drafts", [{}]),
    "list_jobs": ("", [{}]),
    "list_audit": ("audit", [{}]),
}


def sealed(listing: str, plain: bytes) -> str:
    return urlsafe_b64encode(seal(listing, plain) + plain).decode().rstrip("=")


@pytest.mark.anyio
async def test_every_list_refuses_what_it_did_not_give(client: Client) -> None:
    campaign_id = (await new_campaign(client, people=1))["campaign_id"]
    tools = [tool for toolset in TOOLSETS for tool in toolset.tools]
    assert {tool.name for tool in tools if "cursor" in inspect.signature(tool.function).parameters} == set(LISTS)
    for tool, (listing, calls) in LISTS.items():
        foreign = [sealed(other, ID) for other, _ in LISTS.values() if other != listing]
        of_campaign = {"campaign_id": campaign_id} if tool in ("list_events", "list_enrollments") else {}
        for arguments in calls:
            is_by_moment = tool in ("list_audit", "list_events") or "provider" in arguments
            right = MOMENT + ID if is_by_moment else ID
            crafted = [sealed(listing, plain) for plain in CRAFTED if plain != right]
            for cursor in [*foreign, *crafted, " ", "=", "a", "AAAA", "\u00e9", "!" * 300, sealed(listing, right)[:-1]]:
                said = await refusal(client, tool, **arguments, **of_campaign, cursor=cursor)
                assert "cursor" in said, (tool, cursor, said)


@given(some.binary(max_size=60), some.sampled_from([(UUID,), (type(NOW), UUID)]))
def test_whatever_is_sealed_is_read_or_refused(plain: bytes, kinds: tuple[type, ...]) -> None:
    try:
        values = decode_cursor(sealed("x", plain), "x", kinds)
    except InvalidInput:
        return
    assert tuple(map(type, values)) == kinds
    assert encode_cursor("x", values) == sealed("x", plain)
