"""From the arrival of a reply in INBOX to the enrollment that it stops, beside a bare client that only waits for mail.

Both wait by IDLE, and the time of each is counted from when the server has taken the mail. The server is Dovecot, which
tells of a mail half a second after it came, or pymap where that is not installed. `python -m bench.reply_time
[REPLIES]`, as root.
"""

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from uuid import UUID

import imapclient  # pyright: ignore[reportMissingTypeStubs]  it has none
from pydantic import SecretStr

from bench.measure import machine
from bench.postgres import database
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.campaigns import NOW
from tests.support.dovecot import BINARY, dovecot
from tests.support.mail_servers import imap_server
from tests.support.reading import ANN, SECRET, connect, letter, reader_of, status_of, written_to

REPLIES = 100
_PATIENCE = 60.0


@contextmanager
def server() -> Generator[tuple[str, int]]:
    """The name and the port of a server with the mailbox of Ann."""
    if BINARY is None:
        with imap_server(ANN, SECRET) as pymap:
            yield "pymap", pymap.port
    else:
        with dovecot() as running:
            yield "Dovecot", running.port


def client_of(port: int) -> Any:  # noqa: ANN401  the library has no types
    client: Any = imapclient.IMAPClient("127.0.0.1", port, ssl=False)
    client.login(ANN, SECRET)
    return client


class Waiting:
    """A bare client that notes when it is told of a mail."""

    def __init__(self, port: int) -> None:
        self._client = client_of(port)
        self._client.select_folder("INBOX", readonly=True)
        self._client.idle()
        self.told_at: float | None = None
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        while True:
            news = self._client.idle_check(timeout=600)
            if any(len(line) > 1 and line[1] == b"EXISTS" for line in news):
                self.told_at = time.perf_counter()


def until(is_so: Callable[[], bool], began: float) -> None:
    while not is_so():
        assert time.perf_counter() < began + _PATIENCE, "it was not seen in time"
        time.sleep(0.002)


class Scene:
    """People who were written to, a reader that waits, and a bare client that waits as well."""

    def __init__(self, app: App, port: int, known: dict[str, tuple[UUID, str]]) -> None:
        self.app, self.known = app, known
        self.delivery, self.bare = client_of(port), Waiting(port)

    def reply(self, email: str) -> tuple[float, float]:
        """Seconds until the enrollment was stopped, and until the bare client was told."""
        enrollment_id, answered = self.known[email]
        self.bare.told_at = None
        self.delivery.append("INBOX", letter(email, answers=answered))
        began = time.perf_counter()
        until(lambda: status_of(self.app, enrollment_id) == ("completed", "replied"), began)
        stopped = time.perf_counter() - began
        until(lambda: self.bare.told_at is not None, began)
        assert self.bare.told_at is not None
        return stopped, max(0.0, self.bare.told_at - began)


def report(name: str, seconds: Sequence[float]) -> None:
    p99 = quantiles(seconds, n=100, method="inclusive")[98]
    print(f"  {name:<8}  median {median(seconds) * 1000:>7,.0f} ms   p99 {p99 * 1000:>7,.0f} ms")


def main(replies: int = REPLIES) -> None:
    with database() as opened, server() as (name, port), tempfile.TemporaryDirectory() as home:
        url = SecretStr(opened.config.url)
        key = Path(home) / "mailbox.key"
        app = App(
            Settings(database_url=url, home=Path(home), allow_private_hosts=True, mailbox_key_file=key),
            clock=lambda: NOW,
        )
        people = [f"p{number}@example.net" for number in range(replies + 1)]
        known = written_to(app, people)
        mailbox_id = connect(app, port)
        print(machine())
        with reader_of(app, mailbox_id) as reader:
            scene = Scene(app, port, known)  # before the reader, since the first to select INBOX makes it
            reader.start()
            scene.reply(people[0])  # once it is done, the reader waits
            found: list[tuple[float, float]] = []
            for email in people[1:]:
                time.sleep(random.uniform(0.05, 0.5))
                found.append(scene.reply(email))
        print(f"\n{replies} replies, one after the other, at {name}")
        report("stopped", [stopped for stopped, _ in found])
        report("told", [told for _, told in found])
        report("between", [stopped - told for stopped, told in found])
        app.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
