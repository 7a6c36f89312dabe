"""Bounds what a mail server may take of its client: how long the client waits for it, and how much it may send.

The timeout of a socket bounds only one wait: a server that sends a byte now and then, or lines without end, would hold
its client for ever.
"""

import socket
import time
from dataclasses import dataclass

_CHUNK = 64 * 1024


class TooMuchSent(OSError):
    """A server sent more bytes than it was allowed to."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server may take. seconds: until it has finished; size: bytes that it sends meanwhile."""

    seconds: float
    size: int


class Allowance:
    """What is left of the limits of an operation.

    wait: seconds to wait for the next bytes. renewal: the limits that each command gets again; None if those that were
    begun hold for all commands.
    """

    def __init__(self, limits: Limits, *, wait: float) -> None:
        self.wait = wait
        self.renewal: Limits | None = None
        self.begin(limits)

    def begin(self, limits: Limits) -> None:
        """Begins an operation: it has all of these limits."""
        self._ends = time.monotonic() + limits.seconds
        self._left = limits.size

    def renew(self) -> None:
        """Begins a command."""
        if self.renewal is not None:
            self.begin(self.renewal)

    def seconds(self) -> float:
        """Returns for how many seconds to wait for the server now. TimeoutError if its time is over."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the server's time is over")
        return min(left, self.wait)

    def require(self, size: int) -> None:
        """Raises TooMuchSent if the server may not send as many bytes."""
        if size > self._left:
            raise TooMuchSent(f"the server sends {size - self._left} bytes more than it may")

    def count(self, size: int) -> None:
        """Takes bytes that were received off the allowance. TooMuchSent if there were too many."""
        self.require(size)
        self._left -= size

    def send(self, connection: socket.socket, data: bytes) -> None:
        """Sends all of the data. TimeoutError if the server takes it too slowly."""
        left = memoryview(data)
        while left:
            connection.settimeout(self.seconds())
            left = left[connection.send(left) :]


class Reader:
    """Reads lines and parts from a connection, within an allowance.

    Unlike the files of the standard library, it can be read again after a timeout.
    """

    def __init__(self, connection: socket.socket, allowance: Allowance) -> None:
        self.connection = connection
        self._allowance = allowance
        self._buffer = bytearray()
        self._searched = 0  # bytes in which there is no end of a line

    def readline(self, limit: int) -> bytes:
        """Returns a line with its end, or as many bytes of it as `limit`; at the end of the connection, the rest."""
        while not self.has_line(limit):
            if not self._receive():
                return self._taken(len(self._buffer))
        return self._taken(self._end(limit) or limit)

    def read(self, size: int) -> bytes:
        """Returns `size` bytes; at the end of the connection, the rest. TooMuchSent if the server may not send them."""
        self._allowance.require(size - len(self._buffer))
        while len(self._buffer) < size and self._receive():
            pass
        return self._taken(size)

    def has_line(self, limit: int) -> bool:
        """Returns whether `readline` need not wait for the server."""
        return len(self._buffer) >= limit or self._end(limit) > 0

    def await_line(self, limit: int, seconds: float) -> bool:
        """Waits for a line at most as long, and returns whether it has come. EOFError if the server has closed the
        connection. The allowance bounds the bytes alone."""
        ends = time.monotonic() + seconds
        while not self.has_line(limit):
            left = ends - time.monotonic()
            if left <= 0:
                return False
            self.connection.settimeout(left)
            try:
                received = self.connection.recv(_CHUNK)
            except TimeoutError:
                return False
            if not received:
                raise EOFError("the server has closed the connection")
            self._keep(received)
        return True

    def close(self) -> None:
        """Drops what was received and not read. The connection stays open."""
        self._taken(len(self._buffer))

    def _receive(self) -> bool:
        self.connection.settimeout(self._allowance.seconds())
        received = self.connection.recv(_CHUNK)
        self._keep(received)
        return bool(received)

    def _keep(self, received: bytes) -> None:
        self._allowance.count(len(received))
        self._buffer += received

    def _end(self, limit: int) -> int:
        end = self._buffer.find(b"\n", self._searched, limit) + 1
        if not end:
            self._searched = min(len(self._buffer), limit)
        return end

    def _taken(self, size: int) -> bytes:
        self._searched = 0
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
