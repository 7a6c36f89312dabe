"""The fast parser of HTTP, with the bounds that the slow one has, with its care for requests to upgrade, and with
an end to waiting."""

import asyncio
import sys
from typing import Final

from httptools import HttpParserUpgrade
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX: Final = 64 * 1024
"""Bytes of a request's head; as many may come besides that are read at once."""
_FRAMING_MAX: Final = 1024 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's. By itself it keeps a head or a trailer of any size, so a stranger could fill the memory."""

    _is_in_head = True
    _besides_body = 0
    _received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  as uvicorn's
        super().connection_made(transport)
        self._wait_for_a_head()

    def data_received(self, data: bytes) -> None:
        self._received = data
        self._besides_body += len(data)
        super().data_received(data)
        self._received = b""
        most = HEAD_MAX if self._is_in_head else _FRAMING_MAX
        if self._besides_body > most and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")
        is_busy = self.cycle and not self.cycle.response_complete
        if self._is_in_head and not is_busy and self.transport.get_protocol() is self:
            self._wait_for_a_head()

    def _wait_for_a_head(self) -> None:
        """Limits the wait for the first request, or the rest of one, to that between two requests. uvicorn would wait
        for ever."""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # what follows a body is a trailer, which nothing here reads
            super().on_header(name, value.strip(b" \t"))  # that is not a part of it (RFC 9110, section 5.5)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._besides_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_head, self._besides_body = True, 0
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return True

    def handle_websocket_upgrade(self) -> None:
        """Leaves the connection to the slow parser, which ignores what can't be had, such as the HTTP/2 that Java
        offers to speak. This one would drop the request's body, or take it for a request of its own."""
        if self.cycle and not self.cycle.response_complete:
            self.send_400_response("An upgrade can't be asked for before the request ahead of it is answered.")
            return
        upgrade = sys.exception()
        assert isinstance(upgrade, HttpParserUpgrade)
        first = f"{self.scope['method']} {self.url.decode('latin-1')} HTTP/{self.scope['http_version']}"
        head = [first.encode("latin-1"), *(name + b": " + value for name, value in self.headers), b"", b""]
        slow = H11Protocol(self.config, self.server_state, self.app_state, self.loop)
        self.connections.discard(self)
        slow.connection_made(self.transport)
        self.transport.set_protocol(slow)
        slow.data_received(b"\r\n".join(head) + self._received[upgrade.args[0] :])
