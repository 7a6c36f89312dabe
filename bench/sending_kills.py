"""A sender that is killed 1,000 times at random while it sends 2,000 mails: none goes out twice, and none is forgotten.

Once without IMAP, and once with a host that files what it takes: there nothing stays unknown.
`python -m bench.sending_kills [MAILS KILLS SEED]`; the second part needs Dovecot, as root. With `--postfix` instead of
that against Postfix, which returns some of the mails: its reports are read back.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from email import message_from_bytes, policy
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr
from sqlalchemy import text

from bench.postgres import database
from mcp_server.mail import once
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.campaigns import NOW
from tests.support.dovecot import Dovecot, dovecot, needs_dovecot
from tests.support.killed_sender import KilledSenders, killed_senders
from tests.support.mail_servers import smtp_server
from tests.support.postfix import Postfix, needs_postfix, postfix
from tests.support.reading import ANN, expire_leases
from tests.support.sending import Sent, books, connect, enrolled, sender_environment

LONGEST: Final = 0.1
"""Seconds after which a sender is killed at the latest, from the moment at which the server hears of it."""
RETURNED: Final = {"gone.example.net": "5.1.1 No such user here.", "full.example.net": "5.2.2 The mailbox is full."}
"""Domains whose mails Postfix takes and returns, with what it says."""
ONE_RETURNED_IN: Final = 30
"""Fewer than a guardrail stops."""
DELIVERED: Final = "people.example.net"


class Plan(NamedTuple):
    """How many mails are sent, how often a sender is killed, and by which dice."""

    mails: int = 2_000
    kills: int = 1_000
    seed: int = 1


def send_while_killed(app: App, heard: Callable[[], int], senders: KilledSenders, plan: Plan) -> int:
    """Kills senders, each at a random moment, and lets the last one finish. Returns how many of them were killed while
    they were connected. heard: how often the server was told of a mail."""
    amid = 0
    chance = random.Random(plan.seed)
    for _ in range(plan.kills):
        before = heard()
        child = senders.begin()
        ends = time.monotonic() + 10
        while heard() == before and _runs(child) and time.monotonic() < ends:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, LONGEST))
        amid += heard() > before
        with suppress(ProcessLookupError):  # there was nothing left to send
            os.kill(child, signal.SIGKILL)
        senders.end()
        expire_leases(app)
    assert senders.run() == 0
    return amid


def _runs(child: int) -> bool:
    """Returns whether a sender has not ended yet: it does by itself once nothing is left to send."""
    try:
        os.kill(child, 0)
    except ProcessLookupError:
        return False
    return True


def check(kept: list[Sent], taken: Counter[str], name: Callable[[Sent], str], mails: int) -> Counter[str]:
    """Fails if a mail was sent twice, or forgotten, or if the books say what is not so. taken: how often the server
    took each mail, by its name. Returns the statuses."""
    doubled = [one for one, count in taken.items() if count > 1]
    assert not doubled, doubled
    statuses = Counter(sent.status for sent in kept)
    assert len(kept) == mails, len(kept)
    assert set(statuses) <= {"sent", "unknown"}, statuses
    assert all(taken[name(sent)] == 1 for sent in kept if sent.status == "sent")
    assert set(taken) <= {name(sent) for sent in kept}
    return statuses


def _app(home: Path, url: str) -> App:
    settings = Settings(
        database_url=SecretStr(url), home=home, allow_private_hosts=True, mailbox_key_file=home / "mailbox.key"
    )
    return App(settings, clock=lambda: NOW)


def _tell(tag: str, plan: Plan, amid: int, taken: int, statuses: Counter[str], seconds: float) -> None:
    print(
        f"{tag}: {plan.mails:,} mails, {plan.kills:,} kills ({amid:,} while connected), {taken:,} accepted, "
        f"{statuses['sent']:,} sent, {statuses['unknown']:,} unknown, 0 doubled, {seconds:.0f} s"
    )


def run(home: Path, url: str, plan: Plan, imap: Dovecot | None, tag: str) -> None:
    app = _app(home, url)
    address = f"{tag}@example.com"
    with smtp_server({address: "secret"}) as server, killed_senders(sender_environment(url, home)) as senders:
        connect(app, server.port, imap.port if imap else None, address=address, imap_user=tag)
        enrolled(app, [f"p{number}@{tag}.example.net" for number in range(plan.mails)], address)
        if imap is not None:
            server.when_taken = lambda envelope: imap.put(tag, [envelope.content], into="Outbound")  # type: ignore[list-item]
        began = time.perf_counter()
        amid = send_while_killed(app, lambda: len(server.seen), senders, plan)
        seconds = time.perf_counter() - began
        taken = Counter(envelope.rcpt_tos[0] for envelope in server.taken)
        statuses = check(books(app), taken, lambda sent: sent.email, plan.mails)
        _tell(tag, plan, amid, len(server.taken), statuses, seconds)
        if imap is not None:
            assert statuses["unknown"] <= plan.mails - len(server.taken)  # what was taken is known
    app.close()


_REPORTS = text("SELECT bounce, count(*) FROM messages WHERE direction = 'in' AND kind = 'bounce' GROUP BY bounce")


def run_postfix(home: Path, url: str, plan: Plan, imap: Dovecot, server: Postfix) -> None:
    """Sends by Postfix, which delivers each mail or returns it, and reads what it returned."""
    app = _app(home, url)
    with killed_senders(sender_environment(url, home)) as senders:
        connect(app, server.port, imap.port, imap_user="ann")
        enrolled(app, [_person(number) for number in range(plan.mails)])
        began = time.perf_counter()
        amid = send_while_killed(app, server.heard, senders, plan)
        seconds = time.perf_counter() - began
    while not server.is_done():
        time.sleep(0.1)
    once.read_all(app)
    delivered = Counter(_ids(imap, "people", is_report=False))
    returned = Counter(_ids(imap, "ann", is_report=True))
    statuses = check(books(app), delivered + returned, lambda sent: sent.internet_message_id, plan.mails)
    _tell("postfix", plan, amid, sum((delivered + returned).values()), statuses, seconds)
    to_whom = {sent.internet_message_id: sent.email.partition("@")[2] for sent in books(app)}
    wanted = Counter({"gone.example.net": "hard", "full.example.net": "full"}[to_whom[id_]] for id_ in returned)
    judged = dict(app.run("look", lambda session: session.execute(_REPORTS).all()))  # type: ignore[arg-type]
    print(f"postfix: {len(returned):,} mails came back, and were read as {judged}")
    assert judged == wanted, (judged, wanted)
    assert not [sent for sent in books(app) if sent.internet_message_id in returned and sent.status != "sent"]
    app.close()


def _person(number: int) -> str:
    domains = [*RETURNED, *[DELIVERED] * (ONE_RETURNED_IN * len(RETURNED) - len(RETURNED))]
    return f"p{number}@{domains[number * 31 % len(domains)]}"


def _ids(imap: Dovecot, user: str, *, is_report: bool) -> list[str]:
    """Returns the Message-IDs of the mails of a user; of reports, those of the mails that they return."""
    found: list[str] = []
    with imap.client(user) as client:
        client.select_folder("INBOX")
        for part in client.fetch(client.search(["ALL"]), ["RFC822"]).values():
            mail = message_from_bytes(part[b"RFC822"], policy=policy.default)
            inner = [one.get_content() for one in mail.walk() if one.get_content_type() == "message/rfc822"]
            found += [str(one["Message-ID"]).strip("<>") for one in (inner if is_report else [mail])]
    return found


def main(*arguments: str) -> None:
    numbers = [int(argument) for argument in arguments if argument != "--postfix"]
    plan = Plan(*numbers)
    has_dovecot = not needs_dovecot.args[0]
    if "--postfix" in arguments:
        if needs_postfix.args[0] or not has_dovecot:
            print("Skipped: Postfix and Dovecot are needed (apt install postfix dovecot-imapd), and root.")
            return
        with (
            database() as opened,
            tempfile.TemporaryDirectory() as home,
            dovecot("maildir:~/Maildir") as imap,
            postfix(imap, addresses=[ANN], catch_all={DELIVERED: "people"}, returned=RETURNED) as server,
        ):
            run_postfix(Path(home), opened.config.url, plan, imap, server)
        return
    with database() as opened, tempfile.TemporaryDirectory() as home:
        run(Path(home), opened.config.url, plan, None, "alone")
    if has_dovecot:
        with database() as opened, tempfile.TemporaryDirectory() as home, dovecot() as imap:
            run(Path(home), opened.config.url, plan, imap, "filed")


if __name__ == "__main__":
    main(*sys.argv[1:])
