"""A sender that is killed 1,000 times at random while it sends 2,000 mails: none goes out twice, and none is forgotten.

Once without IMAP, and once with a host that files what it takes: there nothing stays unknown.
`python -m bench.sending_kills [MAILS KILLS SEED]`; the second part needs Dovecot, as root.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from bench.postgres import database
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.campaigns import NOW
from tests.support.dovecot import Dovecot, dovecot, needs_dovecot
from tests.support.killed_sender import KilledSenders, killed_senders
from tests.support.mail_servers import SmtpServer, smtp_server
from tests.support.reading import expire_leases
from tests.support.sending import books, connect, enrolled, sender_environment

LONGEST = 0.15
"""Seconds after which a sender is killed at the latest, from the moment at which the server hears of it."""


def send_while_killed(
    app: App, server: SmtpServer, senders: KilledSenders, *, kills: int, chance: random.Random
) -> int:
    """Kills as many senders, each at a random moment, and lets the last one finish. Returns how many of them were
    killed while they were connected."""
    amid = 0
    for _ in range(kills):
        heard = len(server.seen)
        child = senders.begin()
        ends = time.monotonic() + 10
        while len(server.seen) == heard and time.monotonic() < ends:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, LONGEST))
        amid += len(server.seen) > heard
        with suppress(ProcessLookupError):  # there was nothing left to send
            os.kill(child, signal.SIGKILL)
        senders.end()
        expire_leases(app)
    assert senders.run() == 0
    return amid


def check(app: App, server: SmtpServer, mails: int) -> Counter[str]:
    """Fails if a mail was sent twice, or forgotten, or if the books say what is not so."""
    taken = Counter(envelope.rcpt_tos[0] for envelope in server.taken)
    doubled = [email for email, count in taken.items() if count > 1]
    assert not doubled, doubled
    kept = books(app)
    statuses = Counter(sent.status for sent in kept)
    assert len(kept) == mails, len(kept)
    assert set(statuses) <= {"sent", "unknown"}, statuses
    assert all(taken[sent.email] == 1 for sent in kept if sent.status == "sent")
    known = {sent.email for sent in kept}
    assert set(taken) <= known
    return statuses


def run(home: Path, url: str, mails: int, kills: int, seed: int, imap: Dovecot | None, tag: str) -> None:
    settings = Settings(
        database_url=SecretStr(url), home=home, allow_private_hosts=True, mailbox_key_file=home / "mailbox.key"
    )
    env = sender_environment(url, home)
    app = App(settings, clock=lambda: NOW)
    address = f"{tag}@example.com"
    with smtp_server({address: "secret"}) as server, killed_senders(env) as senders:
        connect(app, server.port, imap.port if imap else None, address=address, imap_user=tag)
        enrolled(app, [f"p{number}@{tag}.example.net" for number in range(mails)], address)
        if imap is not None:
            server.when_taken = lambda envelope: imap.put(tag, [envelope.content], into="Outbound")  # type: ignore[list-item]
        began = time.perf_counter()
        amid = send_while_killed(app, server, senders, kills=kills, chance=random.Random(seed))
        seconds = time.perf_counter() - began
        statuses = check(app, server, mails)
        print(
            f"{tag}: {mails:,} mails, {kills:,} kills ({amid:,} while connected), {len(server.taken):,} accepted, "
            f"{statuses['sent']:,} sent, {statuses['unknown']:,} unknown, 0 doubled, {seconds:.0f} s"
        )
        if imap is not None:
            assert statuses["unknown"] <= mails - len(server.taken)  # what was taken is known
    app.close()


def main(mails: int = 2_000, kills: int = 1_000, seed: int = 1) -> None:
    with database() as opened, tempfile.TemporaryDirectory() as home:
        run(Path(home), opened.config.url, mails, kills, seed, None, "alone")
    if not needs_dovecot.args[0]:
        with database() as opened, tempfile.TemporaryDirectory() as home, dovecot() as imap:
            run(Path(home), opened.config.url, mails, kills, seed, imap, "filed")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
