"""A sender that is killed at each commit and at each command of SMTP: no mail goes out twice, and none is forgotten.

bench/sending_kills.py does it at random, many times.
"""

import os
from collections import Counter
from collections.abc import Callable, Generator
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from db.domain.mailboxes import Security
from db.services.consent import replies
from mcp_server.process.app import App
from tests.support.campaigns import NOW
from tests.support.dovecot import dovecot, needs_dovecot
from tests.support.incoming import Inbox, mail
from tests.support.killed_sender import AROUND_POINTS, POINTS, UNKNOWN, KilledSenders, killed_senders
from tests.support.mail_servers import Certificates, SmtpServer, certificates, smtp_server
from tests.support.reading import ANN, expire_leases
from tests.support.sending import books, connect, enrolled, sender_environment

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trusted(home: Path) -> Certificates:
    return certificates(home, "127.0.0.1")


@pytest.fixture(scope="module")
def senders(postgres: str, home: Path, trusted: Certificates) -> Generator[KilledSenders]:
    env = sender_environment(postgres, home, SSL_CERT_FILE=str(trusted.authority))
    with (home / "log").open("wb") as log, killed_senders(env, log) as started:
        yield started


@pytest.fixture
def app(make_app: Callable[..., App], home: Path) -> App:
    return make_app(home=home, allow_private_hosts=True, mailbox_key_file=home / "mailbox.key")


def check(app: App, server: SmtpServer) -> int:
    """Returns how many mails are unknown, where all others are sent, each once."""
    taken = Counter(envelope.rcpt_tos[0] for envelope in server.taken)
    assert max(taken.values()) == 1
    for sent in books(app):
        assert sent.status in ("sent", "unknown"), sent
        if sent.status == "sent":
            assert taken[sent.email] == 1, sent
    return sum(sent.status == "unknown" for sent in books(app))


@pytest.mark.parametrize("point", POINTS)
def test_a_sender_that_is_killed_at_any_point_sends_no_mail_twice_and_forgets_none(
    app: App, senders: KilledSenders, point: str
) -> None:
    with smtp_server({ANN: "secret"}) as server:
        connect(app, server.port)
        enrolled(app, 3)
        assert senders.run(point, nth=2) == -9
        expire_leases(app)
        assert senders.run() == 0
        assert len(books(app)) == 3
        assert check(app, server) == (point in UNKNOWN)


@pytest.mark.parametrize(("point", "nth"), AROUND_POINTS)
def test_a_sender_that_is_killed_while_it_connects_or_leaves_sends_every_mail_once(
    app: App, senders: KilledSenders, trusted: Certificates, point: str, nth: int
) -> None:
    with smtp_server({ANN: "secret"}, starttls=trusted.context) as server:
        connect(app, server.port, security=Security.STARTTLS)
        enrolled(app, 3)
        assert senders.run(point, nth) == -9
        expire_leases(app)
        assert senders.run() == 0
        assert len(books(app)) == len(server.taken) == 3
        assert check(app, server) == 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("place", "unknown"), [("RCPT", 0), ("DATA", 1), ("DOT", 1)])
def test_a_sender_that_is_killed_at_rset_forgets_no_mail(
    app: App, senders: KilledSenders, when: str, place: str, unknown: int
) -> None:
    """The answer before it is not recorded yet: whoever takes over can't tell it from none."""
    with smtp_server({ANN: "secret"}) as server:
        connect(app, server.port)
        enrolled(app, 3)
        server.turns = {place: [None, "451 4.3.0 Later."]}
        assert senders.run(f"{when} rset") == -9
        expire_leases(app)
        assert senders.run() == 0
        assert len(books(app)) == 3
        assert check(app, server) == unknown
        assert len(server.taken) == 3 - unknown


@pytest.mark.parametrize("when", ["within", "after"])
def test_mails_that_a_killed_sender_was_giving_back_go_out_once(
    app: App, senders: KilledSenders, home: Path, when: str
) -> None:
    with smtp_server({ANN: "secret"}) as server:
        connect(app, server.port)
        enrolled(app, 3)
        server.turns = {"DOT": ["550 5.7.1 Not from here."]}
        assert senders.run(f"{when} give mails back") == -9
        expire_leases(app)
        assert senders.run() == 0
        (home / "clock").write_text((NOW + timedelta(hours=2)).isoformat())
        assert senders.run() == 0
        (home / "clock").write_text(NOW.isoformat())
        assert len(books(app)) == len(server.taken) == 3
        assert check(app, server) == 0


@pytest.mark.parametrize(
    "point", ["within claim mails", "after claim mails", "after begin a mail", "after content", "within record a mail"]
)
def test_a_reply_of_a_sender_that_is_killed_goes_out_once(app: App, senders: KilledSenders, point: str) -> None:
    with smtp_server({ANN: "secret"}) as server:
        mailbox_id = connect(app, server.port)
        people = enrolled(app, ["bob@example.com"])
        assert senders.run() == 0
        inbox = Inbox(app.database(), mailbox_id, UUID(int=0), people)
        inbox.bring(mail("When?", answers=books(app)[0].internet_message_id, to=ANN), hours=0)
        app.run("reply", partial(replies.reply, thread_id=inbox.threads()[0].id, body="At ten.", now=NOW))
        assert senders.run(point) == -9
        expire_leases(app)
        assert senders.run() == 0
        is_unknown = point in UNKNOWN
        assert [sent.status for sent in books(app)] == ["sent", "unknown" if is_unknown else "sent"]
        assert len(server.taken) == (1 if point == "after begin a mail" else 2)


@needs_dovecot
@pytest.mark.parametrize("point", ["unanswered content", "after content", "within note a copy"])
def test_a_mail_in_sent_is_known_to_be_sent(app: App, senders: KilledSenders, point: str) -> None:
    with smtp_server({ANN: "secret"}) as server, dovecot() as imap:
        connect(app, server.port, imap.port, imap_user="ann")
        enrolled(app, 3)
        server.when_taken = lambda envelope: imap.put("ann", [envelope.content], into="Outbound")  # type: ignore[list-item]
        assert senders.run(point, nth=2) == -9
        expire_leases(app)
        assert senders.run() == 0
        assert check(app, server) == 0
        with imap.client("ann") as client:
            client.select_folder("Outbound")
            assert len(client.search(["ALL"])) == len(server.taken) == 3
