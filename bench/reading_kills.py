"""A reader that is killed 50 times while 20,000 mails come in: each is read once. Meanwhile Dovecot is restarted ten
times, and PostgreSQL is killed five times.

`python -m bench.reading_kills [MAILS KILLS SEED]`, as root. tests/mail/test_reading_kills.py does it shorter.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from bench.postgres import database_of, embedded
from db.embedded import EmbeddedPostgres
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.campaigns import NOW
from tests.support.dovecot import Dovecot, dovecot
from tests.support.embedded import killed, postmaster_of
from tests.support.reading import replies_of
from tests.support.reading_kills import read_while_killed


def main(mails: int = 20_000, kills: int = 50, seed: int = 1) -> None:
    began = time.monotonic()
    with (
        embedded() as postgres,
        database_of(postgres) as opened,
        dovecot() as server,
        tempfile.TemporaryDirectory() as home,
    ):
        url = opened.config.url
        settings = Settings(
            database_url=SecretStr(url),
            home=Path(home),
            allow_private_hosts=True,
            mailbox_key_file=Path(home) / "mailbox.key",
        )
        app = App(settings, clock=lambda: NOW)
        restarts = _restarts(server, postgres)
        found = read_while_killed(app, server, url, mails=mails, kills=kills, seed=seed, restarts=restarts)
        replies = replies_of(app)
        app.close()
    print(found, f"replies: {replies}", f"minutes: {(time.monotonic() - began) / 60:.0f}")
    assert (found.recorded, found.unrelated, found.pending) == (found.answers, found.others, 0)
    assert replies == found.answers


def _restarts(server: Dovecot, postgres: EmbeddedPostgres) -> list[Callable[[], None]]:
    """Twice Dovecot's turn, then PostgreSQL's, and so on."""

    def crash() -> None:
        killed(postmaster_of(postgres.home))
        postgres.start()

    return [server.restart, server.restart, crash] * 5


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
