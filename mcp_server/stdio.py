"""The protocol's pipes, read and written without threads: three hops to one and back cost a fifth of a small call."""

import os
import select
import stat
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import anyio
import anyio.to_thread

from db.domain import texts

_READ_BYTES = 65_536


def are_pipes() -> bool:
    """Whether stdin and stdout are what clients give a server. Files and terminals can't be waited for like that, and
    on Windows nothing can."""
    if sys.platform == "win32":
        return False
    try:
        modes = [os.fstat(fd).st_mode for fd in (0, 1, 2)][:2]
    except OSError:  # one of them is closed: the SDK copes
        return False
    return all(stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) for mode in modes)


@contextmanager
def claimed() -> Generator[tuple["Lines", "Sink"]]:
    """stdin and stdout for the protocol alone: meanwhile what a library or a child prints goes to stderr."""
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

    async def __aiter__(self) -> AsyncGenerator[str]:
        begun: list[bytes] = []
        while chunk := await self._read():
            first, *others = chunk.split(b"\n")
            begun.append(first)
            for other in others:
                yield _text(begun)
                begun = [other]
        if any(begun):
            yield _text(begun)

    async def _read(self) -> bytes:
        await anyio.wait_readable(self._fd)
        return os.read(self._fd, _READ_BYTES)


def _text(parts: list[bytes]) -> str:
    # The SDK leaves a message that it can't parse without an answer. The arguments refuse a NUL, and say so.
    return texts.without_halves(b"".join(parts), rb"\u0000").decode("utf-8", "replace")


class Sink:
    """A pipe to write text to, each text at once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, text: str) -> None:
        data = text.encode()
        # A pipe that is ready takes so many bytes without making the writer wait, which the event loop must never do:
        # the client may be waiting itself, for its next message to be read.
        if len(data) <= select.PIPE_BUF and select.select([], [self._fd], [], 0)[1]:
            self._write_all(data)
        else:
            await anyio.to_thread.run_sync(self._write_all, data)

    async def flush(self) -> None:
        """Nothing is held back."""

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
