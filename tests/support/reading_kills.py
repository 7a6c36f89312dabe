"""A reader that is killed again and again while mail comes in."""

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from db.domain.errors import StoreUnavailable
from db.embedded.locks import wait_until
from mcp_server.process.app import App
from tests.support.dovecot import Dovecot
from tests.support.patience import PATIENCE
from tests.support.processes import environment
from tests.support.reading import LATER, connect, counts, expire_leases, letter, reached, written_to

USER = "killed"
_ONCE = (sys.executable, "-m", "mcp_server", "mail", "run", "--once")


class Killed(NamedTuple):
    """What became of the mails, and how many of them there were. kills: while it was reading."""

    recorded: int
    unrelated: int
    pending: int
    answers: int
    others: int
    kills: int


def read_while_killed(
    app: App,
    server: Dovecot,
    database_url: str,
    *,
    mails: int,
    kills: int,
    seed: int,
    restarts: Sequence[Callable[[], None]],
) -> Killed:
    """Delivers as many mails in parts, a sixth of them answers, and kills the process that reads each part. The last
    one is left to finish. restarts: what the servers go through meanwhile, each while another part is read."""
    chance = random.Random(seed)
    people = [f"p{number}@example.net" for number in range(mails // 6)]
    known = written_to(app, people)
    letters = [letter(email, answers=known[email][1]) for email in people]
    letters += [letter(f"o{number}@example.org") for number in range(mails - len(people))]
    chance.shuffle(letters)
    connect(app, server.port, username=USER)
    home = app.settings.home
    env = environment(
        database_url,
        SALES_AUTOMATION_HOME=str(home),
        SALES_AUTOMATION_MAILBOX_KEY_FILE=str(home / "mailbox.key"),
        SALES_AUTOMATION_ALLOW_PRIVATE_HOSTS="true",
        SALES_AUTOMATION_READ_BACK_DAYS="3650",
    )
    part, done = -(-mails // kills), 0
    due = {(number + 1) * kills // (len(restarts) + 1): restart for number, restart in enumerate(restarts)}
    for number in range(kills):
        server.put(USER, letters[number * part : (number + 1) * part], at=LATER)
        child = subprocess.Popen(_ONCE, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda child=child: child.poll() is not None or reached(app).reader is not None, PATIENCE)
        wait_until(lambda child=child: child.poll() is not None, chance.uniform(0, 0.4))
        done += child.poll() is None
        if number in due:
            due[number]()
        child.kill()
        child.wait(PATIENCE)
        assert wait_until(partial(_has_expired, app), PATIENCE)
    finished = subprocess.run(_ONCE, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return Killed(*counts(app), answers=len(people), others=mails - len(people), kills=done)


def _has_expired(app: App) -> bool:
    """Expires the leases, once the database is back from a restart."""
    with suppress(StoreUnavailable):
        expire_leases(app)
        return True
    return False
