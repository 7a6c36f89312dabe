"""`mail run --once`: reads what is there, sends what is due, tells what became of it, and ends."""

from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path

import pytest

from mcp_server.process.app import App
from tests.support.campaigns import NOW
from tests.support.command_line import Cli
from tests.support.dovecot import Dovecot, dovecot, needs_dovecot
from tests.support.mail_servers import SmtpServer, smtp_server
from tests.support.reading import ANN, letter
from tests.support.sending import books, connect, enrolled, sender_environment, statuses

RUN = ("mail", "run", "--once", "--send")


@pytest.fixture(scope="module")
def dovecot_server() -> Generator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    return make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")


@pytest.fixture
def cli(database_url: str, tmp_path: Path) -> Cli:
    made = Cli(database_url, tmp_path)
    made.env |= {
        name: value
        for name, value in sender_environment(database_url, tmp_path).items()
        if name.startswith("SALES_AUTOMATION_")
    }
    return made


@pytest.fixture
def server() -> Generator[SmtpServer]:
    with smtp_server({ANN: "secret"}) as started:
        yield started


def moved(home: Path, **more: float) -> None:
    (home / "clock").write_text((NOW + timedelta(**more)).isoformat())


def test_it_tells_what_was_sent_and_what_waits_and_of_a_stop(app: App, server: SmtpServer, cli: Cli) -> None:
    connect(app, server.port)
    enrolled(app, 4)
    server.turns = {"RCPT": [None, "450 4.2.0 greylisted", "550 5.1.1 user unknown"]}
    assert cli.run("mail", "stop").returncode == 0
    stopped = cli.run(*RUN)
    assert (stopped.returncode, stopped.stdout) == (0, "ann@example.com: 0 sent.\n")
    assert "all sending is stopped since 2026-" in stopped.stderr
    assert cli.run("mail", "start").returncode == 0
    assert cli.run(*RUN).stdout == "ann@example.com: 2 sent, 1 wait for another try.\n"
    assert sorted(statuses(app)) == ["queued", "refused", "sent", "sent"]


def test_what_is_long_due_waits_for_a_person(app: App, server: SmtpServer, cli: Cli, tmp_path: Path) -> None:
    connect(app, server.port)
    enrolled(app, 1)
    moved(tmp_path, days=30)
    held = cli.run(*RUN)
    assert held.stdout == "ann@example.com: 0 sent.\n"
    assert "1 of them for so long that they wait for --include-overdue" in held.stderr
    assert cli.run(*RUN, "--include-overdue").stdout == "ann@example.com: 1 sent.\n"


@needs_dovecot
def test_whoever_has_answered_meanwhile_gets_no_more(
    app: App, server: SmtpServer, cli: Cli, dovecot_server: Dovecot, tmp_path: Path
) -> None:
    connect(app, server.port, dovecot_server.port, imap_user="once")
    enrolled(app, 1)
    assert "1 sent." in cli.run(*RUN).stdout
    (sent,) = books(app)
    moved(tmp_path, hours=48)
    dovecot_server.put("once", [letter(sent.email, answers=sent.internet_message_id)], at=NOW + timedelta(hours=1))
    done = cli.run(*RUN)
    assert "1 recorded" in done.stdout
    assert "0 sent." in done.stdout
    assert len(server.taken) == 1


def test_a_server_that_only_reads_sends_nothing(cli: Cli) -> None:
    refused = cli.run("mail", "run", "--send", SALES_AUTOMATION_READ_ONLY="true")
    assert refused.returncode == 2
    assert "SALES_AUTOMATION_READ_ONLY lets nothing be read or sent" in refused.stderr
