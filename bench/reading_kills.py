"""A reader that is killed 50 times while 20,000 mails come in, with Dovecot restarted ten times: each is read once.

`python -m bench.reading_kills [MAILS KILLS SEED]`, as root. tests/mail/test_reading_kills.py does it shorter.
"""

import sys
import tempfile
from pathlib import Path

from pydantic import SecretStr

from bench.postgres import database
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.campaigns import NOW
from tests.support.dovecot import dovecot
from tests.support.reading import replies_of
from tests.support.reading_kills import read_while_killed


def main(mails: int = 20_000, kills: int = 50, seed: int = 1) -> None:
    with database() as opened, dovecot() as server, tempfile.TemporaryDirectory() as home:
        url = opened.config.url
        settings = Settings(
            database_url=SecretStr(url),
            home=Path(home),
            allow_private_hosts=True,
            mailbox_key_file=Path(home) / "mailbox.key",
        )
        app = App(settings, clock=lambda: NOW)
        found = read_while_killed(app, server, url, mails=mails, kills=kills, seed=seed, restarts=10)
        replies = replies_of(app)
        app.close()
    print(found, f"replies: {replies}")
    assert (found.recorded, found.unrelated, found.pending) == (found.answers, found.others, 0)
    assert replies == found.answers


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
