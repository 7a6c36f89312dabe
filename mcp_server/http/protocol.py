"""The fast parser of HTTP, with the bounds that the slow one has."""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX: Final = 64 * 1024
"""Bytes of a request's head; as many may come besides that are read at once."""
_FRAMING_MAX: Final = 1024 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's. By itself it keeps a head or a trailer of any size, so a stranger could fill the memory."""

    _is_in_head = True
    _besides_body = 0

    def data_received(self, data: bytes) -> None:
        self._besides_body += len(data)
        super().data_received(data)
        most = HEAD_MAX if self._is_in_head else _FRAMING_MAX
        if self._besides_body > most and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # what follows a body is a trailer, which nothing here reads
            super().on_header(name, value.strip(b" \t"))  # that is no part of it (RFC 9110, section 5.5)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._besides_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_head, self._besides_body = True, 0
        super().on_message_complete()
