"""Requests of the protocol with an id such as 1.0, read as what they mean (process/request_ids.py)."""

from typing import Final

from mcp_types import INVALID_REQUEST, JSONRPC_VERSION
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.process.request_ids import WRONG_ID, WrongId, with_whole_id

_PATHS: Final = ("/mcp", "/messages/")


class WholeIds:
    """An ASGI app around others that reads the bodies of the protocol's requests, up to `most` bytes: the SDK, which
    keeps them whole as well, refuses longer ones."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(_PATHS):
            await self._app(scope, receive, send)
            return
        read = await self._read(receive)
        if len(read) == 1 and read[0]["type"] == "http.request":
            try:
                read = [{**read[0], "body": with_whole_id(read[0].get("body", b""))}]
            except WrongId:
                error = {"code": INVALID_REQUEST, "message": WRONG_ID}
                await JSONResponse({"jsonrpc": JSONRPC_VERSION, "id": None, "error": error}, 400)(scope, receive, send)
                return
        left = iter(read)

        async def again() -> Message:
            return next(left, None) or await receive()

        await self._app(scope, again, send)

    async def _read(self, receive: Receive) -> list[Message]:
        """Returns a whole body as one message; or, where it is too long or cut off, the messages as they came."""
        came: list[Message] = []
        size = 0
        while True:
            came.append(message := await receive())
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or size > self._most:
                return came
            if not message.get("more_body", False):
                body = b"".join(part.get("body", b"") for part in came)
                return [{"type": "http.request", "body": body, "more_body": False}]
