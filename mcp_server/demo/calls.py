"""Calls of the demo: tools through its client, and what must agree with the demo's own counting."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

import anyio
from mcp.client import Client
from mcp_types import TextContent

_PAGE: Final = 500
_LOOK_SECONDS: Final = 0.25
_STALLED_SECONDS: Final = 60.0


class DemoFailed(Exception):
    """The server's answer is not what the demo's own counting says."""


class Calls:
    """The tools of the server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __call__(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Returns the structured answer of a tool. DemoFailed if it is an error."""
        result = await self._client.call_tool(tool, arguments)
        if result.is_error or result.structured_content is None:
            texts = [block.text for block in result.content if isinstance(block, TextContent)]
            raise DemoFailed(" ".join(texts))
        return result.structured_content

    async def rows(self, tool: str, key: str, **arguments: object) -> AsyncGenerator[dict[str, Any]]:
        """Yields the rows of a list, page by page. key: where they stand in the answer."""
        cursor: str | None = None
        while True:
            page = await self(tool, limit=_PAGE, cursor=cursor, **arguments)
            for row in page[key]:
                yield row
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def check(what: str, answered: int, counted: int) -> None:
    """Raises DemoFailed if the server and the demo's own counting disagree."""
    if answered != counted:
        raise DemoFailed(f"{what}: the server says {answered}, and the demo counts {counted}.")


async def until(
    what: str, wanted: int, look: Callable[[], Awaitable[int]], *, tell: Callable[[int], object] = lambda _: None
) -> None:
    """Waits until there are as many. `tell` hears of each look. DemoFailed if a minute passes without any progress."""
    found, since = -1, time.monotonic()
    while found < wanted:
        before, found = found, await look()
        tell(found)
        if found != before:
            since = time.monotonic()
        elif time.monotonic() > since + _STALLED_SECONDS:
            raise DemoFailed(f"{what}: {found} of {wanted} after a minute without progress.")
        await anyio.sleep(_LOOK_SECONDS)
