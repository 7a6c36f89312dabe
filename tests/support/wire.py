"""What clients send and read where no client of the SDK stands between."""

import socket

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "java", "version": "21"}},
}


def received(stranger: socket.socket, end: bytes) -> bytes:
    """All up to `end`, which must come."""
    said = b""
    while end not in said:
        part = stranger.recv(65_536)
        assert part, said
        said += part
    return said


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream"}
