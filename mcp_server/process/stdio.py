"""The protocol's pipes, read and written without threads: three switches to one and back cost a fifth of a small
call."""

import json
import os
import select
import stat
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, JSONRPC_VERSION, PARSE_ERROR, ErrorData, JSONRPCError
from pydantic import ValidationError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from mcp.shared._stream_protocols import ReadStream, WriteStream

from db.domain import texts
from mcp_server.process.request_ids import WrongId, with_whole_id
from mcp_server.process.unanswered import Unanswered

_READ_BYTES = 65_536
_NO_MESSAGE = (
    'This is no JSON-RPC message. Send one JSON object a line, with "jsonrpc": "2.0", a "method", "params" as an '
    'object if there are any, and an "id" (text or a whole number) where you want an answer.'
)


def are_pipes() -> bool:
    """Returns whether stdin and stdout are what clients give a server. Files and terminals can't be waited for like
    that, and on Windows nothing can."""
    if sys.platform == "win32":
        return False
    try:
        modes = [os.fstat(fd).st_mode for fd in (0, 1, 2)][:2]
    except OSError:  # one of them is closed: the SDK copes
        return False
    return all(stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) for mode in modes)


@contextmanager
def claimed() -> Generator[tuple["Lines", "Sink"]]:
    """Gives stdin and stdout to the protocol alone: meanwhile what a library or a child prints goes to stderr."""
    private = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    try:
        yield Lines(private[0]), Sink(private[1])
    finally:
        for fd, kept in enumerate(private):
            os.dup2(kept, fd)
            os.close(kept)


class Lines:
    """The lines that come in through a pipe, until its end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        begun: list[bytes] = []
        while chunk := await self._read():
            first, *others = chunk.split(b"\n")
            begun.append(first)
            for other in others:
                yield _whole(begun)
                begun = [other]
        if any(begun):
            yield _whole(begun)

    async def _read(self) -> bytes:
        await anyio.wait_readable(self._fd)
        return os.read(self._fd, _READ_BYTES)


def _whole(parts: list[bytes]) -> bytes:
    # Half a character would cost the whole message. The arguments refuse a NUL, and say where it is.
    line = texts.without_halves(b"".join(parts), rb"\u0000")
    try:
        return with_whole_id(line)
    except WrongId:
        return b"{}"  # no message either, which is answered as such


class Sink:
    """A pipe to write text to, each text at once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, text: str) -> None:
        data = text.encode()
        # A pipe that is ready takes so many bytes without blocking the writer. The event loop must never block: the
        # client may be waiting for its own next message to be read.
        if len(data) <= select.PIPE_BUF and select.select([], [self._fd], [], 0)[1]:
            self._write_all(data)
        else:
            await anyio.to_thread.run_sync(self._write_all, data)

    async def flush(self) -> None:
        """Does nothing: no text is buffered."""

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        with suppress(BrokenPipeError):  # who reads no more is owed no answer
            while rest:
                rest = rest[os.write(self._fd, rest) :]


class Messages:
    """The incoming messages, which end once they are answered: with the end the SDK drops the answers to come. Invalid
    ones are answered here: the SDK drops them, and their sender would wait."""

    def __init__(
        self,
        incoming: "ReadStream[SessionMessage | Exception]",
        outgoing: "WriteStream[SessionMessage]",
        unanswered: Unanswered,
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._unanswered = unanswered

    async def receive(self) -> SessionMessage | Exception:
        try:
            while isinstance(item := await self._incoming.receive(), ValidationError):
                answer = _refusal(item)
                if answer is not None:
                    await self._outgoing.send(SessionMessage(answer))
        except anyio.EndOfStream:
            await self._unanswered.end()
            raise
        if isinstance(item, SessionMessage):
            self._unanswered.read(item)
        return item

    async def aclose(self) -> None:
        await self._incoming.aclose()

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: "TracebackType | None"
    ) -> None:
        await self.aclose()


def _refusal(error: ValidationError) -> JSONRPCError | None:
    """Returns the answer to a line that is not a message; None for one that is empty."""
    first, *others = error.errors(include_url=False)
    if first["type"] != "json_invalid":
        given = next((error["input"] for error in others if error["type"] == "missing"), None)
        return _error(given, INVALID_REQUEST, _NO_MESSAGE)
    line: str | bytes = first["input"]
    return _error(_guessed(line), PARSE_ERROR, f"{first['msg']}.") if line.strip() else None


def _guessed(line: str | bytes) -> object:
    """Returns what the line would be without the characters that are none: its sender waits under the id that stands
    there."""
    try:
        return json.loads(line if isinstance(line, str) else line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _error(given: object, code: int, message: str) -> JSONRPCError:
    """Returns an error answer. `given`: the JSON as far as it is known. Only a request's id is the sender's own; that
    of a result is ours."""
    known = cast("dict[str, Any]", given) if isinstance(given, dict) and "method" in given else {}
    own = known.get("id")
    return JSONRPCError(
        jsonrpc=JSONRPC_VERSION,
        id=own if isinstance(own, str | int) and not isinstance(own, bool) else None,
        error=ErrorData(code=code, message=message),
    )
