"""Reading a mailbox from Dovecot, against a bare loop of the same library that only fetches the same mails.

Answers of 30 kB are fetched, stored and judged; the bare loop fetches them. Unrelated mails are passed over by their
headers; the bare loop fetches the same headers. `python -m bench.reading [ANSWERS UNRELATED ROUNDS]`, as root.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from bench.measure import alternate, machine, ratio, report, verdict
from bench.postgres import database
from mcp_server.mail import fetching
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.campaigns import NOW
from tests.support.dovecot import Dovecot, dovecot
from tests.support.reading import LATER, connect, counts, letter, read_once, written_to

ANSWERS, UNRELATED, ROUNDS = 5_000, 20_000, 3
_WORDS = "Thank you, that sounds good. Call me on Monday and we shall see.\n" * 450  # 30 kB


def bare(server: Dovecot, user: str, items: list[str], batch: int) -> None:
    """Fetches all mails of a user, as fast as the library does."""
    with server.client(user) as client:
        client.select_folder("INBOX", readonly=True)
        uids: list[int] = client.search(["ALL"])
        for start in range(0, len(uids), batch):
            assert len(client.fetch(uids[start : start + batch], items)) > 0


def timed(work: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


class Scene:
    """Mails at the server, and the app that reads them into a new mailbox each time."""

    def __init__(self, app: App, server: Dovecot, answers: int, unrelated: int) -> None:
        self.app, self.server, self.answers, self.unrelated = app, server, answers, unrelated
        self.turn = 0
        server.put("unrelated", (letter(f"o{number}@example.org") for number in range(unrelated)), at=LATER)

    def read_answers(self) -> float:
        self.turn += 1
        people = [f"t{self.turn}-{number}@example.net" for number in range(self.answers)]
        known = written_to(self.app, people)
        mails = (letter(email, answers=known[email][1], words=_WORDS) for email in people)
        self.server.put(f"answers-{self.turn}", mails, at=LATER)
        return self._read(f"answers-{self.turn}", self.answers, (self.answers, 0, 0))

    def read_unrelated(self) -> float:
        self.turn += 1
        return self._read("unrelated", self.unrelated, (0, self.unrelated, 0))

    def fetch_answers(self) -> float:
        return timed(partial(bare, self.server, "answers-1", ["BODY.PEEK[]"], 200), self.answers)

    def fetch_headers(self) -> float:
        items = [fetching.HEADER_ITEM, "RFC822.SIZE", "INTERNALDATE"]
        return timed(partial(bare, self.server, "unrelated", items, fetching.HEADERS_MOST), self.unrelated)

    def _read(self, user: str, count: int, expected: tuple[int, int, int]) -> float:
        address = f"box-{self.turn}@example.com"
        mailbox_id = connect(self.app, self.server.port, address=address, username=user)
        figure = timed(lambda: read_once(self.app, mailbox_id), count)
        assert counts(self.app, address) == expected, counts(self.app, address)
        return figure


def main(answers: int = ANSWERS, unrelated: int = UNRELATED, rounds: int = ROUNDS) -> None:
    with database() as opened, dovecot() as server, tempfile.TemporaryDirectory() as home:
        url = SecretStr(opened.config.url)
        settings = Settings(
            database_url=url,
            home=Path(home),
            allow_private_hosts=True,
            mailbox_key_file=Path(home) / "mailbox.key",
            statement_timeout=600,
        )
        app = App(settings, clock=lambda: NOW)
        scene = Scene(app, server, answers, unrelated)
        scene.read_answers()  # warms up, and puts there what the bare loop fetches
        print(machine())
        first = alternate({"read": scene.read_answers, "bare": scene.fetch_answers}, rounds)
        report(f"{answers:,} answers of 30 kB", first, against="bare", unit="mails/s")
        value = ratio(first, "read", "bare")
        verdict("stored and judged, against fetched", value, ">= 0.4", met=value >= 0.4)
        second = alternate({"read": scene.read_unrelated, "bare": scene.fetch_headers}, rounds)
        report(f"{unrelated:,} unrelated headers", second, against="bare", unit="mails/s")
        value = ratio(second, "read", "bare")
        verdict("passed over, against fetched", value, ">= 0.6", met=value >= 0.6)
        app.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
