"""A way to an IMAP server that goes wrong: it hangs, drops, or answers in the server's place."""

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CLOSE = b"close"
HANG = b"hang"

Fault = Callable[[bytes], bytes | None]
"""A line of the client -> what is answered to it in the server's place, CLOSE or HANG; None to pass it on."""


@dataclass
class FaultyWay:
    """Its port leads to the server, as long as `fault` gives None. `lines`: all that clients said."""

    port: int = 0
    fault: Fault = lambda _: None
    lines: list[bytes] = field(default_factory=list[bytes])
    connections: int = 0


@contextmanager
def faulty_way(to: int) -> Generator[FaultyWay]:
    way, open_ = FaultyWay(), list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way.port = listener.getsockname()[1]

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with suppress(OSError):
                    server = socket.create_connection(("127.0.0.1", to))
                    way.connections += 1
                    open_.extend((client, server))
                    threading.Thread(target=_answers, args=(server, client), daemon=True).start()
                    threading.Thread(target=_lines, args=(way, client, server), daemon=True).start()
                    continue
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield way
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            for connection in open_:
                with suppress(OSError):
                    connection.close()
    thread.join(5)


def _answers(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while given := server.recv(65_536):
            client.sendall(given)
        client.shutdown(socket.SHUT_RDWR)


def _lines(way: FaultyWay, client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError), client.makefile("rb") as lines:
        for line in lines:
            way.lines.append(line)
            answer = way.fault(line)
            if answer is None:
                server.sendall(line)
            elif answer == CLOSE:
                break
            elif answer != HANG:
                client.sendall(answer.replace(b"TAG", line.split(b" ")[0]))
        server.shutdown(socket.SHUT_RDWR)
        client.shutdown(socket.SHUT_RDWR)
