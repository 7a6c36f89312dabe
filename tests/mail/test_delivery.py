"""One mail by SMTP: what became of it, wherever the server refuses or ends the connection."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from db.domain.errors import MailboxUnusable
from db.domain.mail.message import Address
from db.domain.mail.verdict import BounceKind
from db.domain.mailboxes import MailServer, Security
from db.mail import ComposedMail, NewMail, compose
from mcp_server.mail import clients, connections
from mcp_server.mail.clients import Smtp
from mcp_server.mail.credentials import Password
from mcp_server.mail.delivery import Delivery, Outcome, Stage, deliver
from tests.support.mail_servers import DROP, SmtpServer, endless_server, smtp_answers, smtp_server

ANN = "ann@example.com"


def mail(recipient: str = "bob@example.org", text: str = "Hello\n.\n..and\n\n.") -> ComposedMail:
    return compose(
        NewMail(
            sender=Address("Ann", ANN),
            recipient=Address("Bob", recipient),
            subject="Hello",
            text=text,
            internet_message_id="1@example.com",
            date=datetime(2026, 3, 2, tzinfo=UTC),
        )
    )


@contextmanager
def connected(port: int, password: str = "secret") -> Generator[Smtp]:
    server = MailServer("127.0.0.1", port, Security.NONE)
    with connections.smtp(server, address=ANN, credential=Password(password), allow_private=True) as connection:
        yield connection


@contextmanager
def server(
    script: dict[str, str] | None = None, *, smtputf8: bool = False, keeps: bool = False
) -> Generator[SmtpServer]:
    with smtp_server({ANN: "secret"}, smtputf8=smtputf8) as started:
        started.script, started.keeps = script or {}, keeps
        yield started


def delivered(taker: SmtpServer, sent: ComposedMail | None = None) -> Outcome:
    """The outcome of one mail. `before_data` is seen as CALLED."""
    with connected(taker.port) as connection:
        return deliver(connection, sent or mail(), before_data=lambda: taker.seen.append("CALLED"))


def test_a_mail_goes_out_as_its_very_bytes_once_its_caller_agrees() -> None:
    with server() as taker:
        assert delivered(taker) == Outcome(Delivery.SENT, Stage.DATA, 250, "OK")
    (envelope,) = taker.taken
    assert (envelope.mail_from, envelope.rcpt_tos) == (ANN, ["bob@example.org"])
    assert envelope.content == mail().raw
    assert taker.seen == ["MAIL", "RCPT", "CALLED", "DATA"]


def test_a_connection_takes_one_mail_after_another_whatever_became_of_them() -> None:
    found: list[Delivery] = []
    with server() as taker, connected(taker.port) as connection:
        for script in ({}, {"RCPT": "550 no"}, {"DATA": "451 later"}, {"DOT": "554 spam"}, {}):
            taker.script = script
            found.append(deliver(connection, mail()).delivery)
    assert found == ["sent", "refused", "deferred", "refused", "sent"]
    assert len(taker.taken) == 2
    assert taker.seen.count("RSET") == 3


@pytest.mark.parametrize(
    ("script", "stage", "called"),
    [({"MAIL": DROP}, Stage.SENDER, 0), ({"RCPT": DROP}, Stage.RECIPIENT, 0), ({"DATA": DROP}, Stage.DATA, 1)],
)
def test_a_connection_that_ends_before_the_mail_begins_leaves_it_to_be_tried_again(
    script: dict[str, str], stage: Stage, called: int
) -> None:
    with server(script) as taker:
        assert delivered(taker) == Outcome(Delivery.DEFERRED, stage)
    assert taker.taken == []
    assert taker.seen.count("CALLED") == called


@pytest.mark.parametrize("text", ["Hello", "Hello, this is a long line. " * 100_000])
def test_a_connection_that_ends_within_the_mail_leaves_it_unknown(text: str) -> None:
    with server({"CONTENT": DROP}) as taker:
        assert delivered(taker, mail(text=text)) == Outcome(Delivery.UNKNOWN, Stage.DATA)
    assert taker.taken == []


@pytest.mark.parametrize("keeps", [True, False])
def test_a_connection_that_ends_after_the_mail_leaves_it_unknown_whether_or_not_it_was_taken(keeps: bool) -> None:
    with server({"DOT": DROP}, keeps=keeps) as taker:
        assert delivered(taker) == Outcome(Delivery.UNKNOWN, Stage.DATA)
    assert len(taker.taken) == keeps


@pytest.mark.parametrize(
    ("place", "stage"), [("MAIL", "sender"), ("RCPT", "recipient"), ("DATA", "data"), ("DOT", "data")]
)
@pytest.mark.parametrize("answer", ["450 4.2.0 greylisted, come back", "421 4.3.2 closing"])
def test_a_server_that_wants_it_later_gets_it_later(place: str, stage: str, answer: str) -> None:
    with server({place: answer}) as taker:
        outcome = delivered(taker)
    assert outcome == Outcome(Delivery.DEFERRED, Stage(stage), int(answer[:3]), answer[4:])
    assert taker.taken == []
    assert ("RSET" in taker.seen) == answer.startswith("450")


@pytest.mark.parametrize(
    ("place", "answer", "stage", "kind"),
    [
        ("RCPT", "550 5.1.1 user unknown", Stage.RECIPIENT, BounceKind.HARD),
        ("RCPT", "552 5.2.2 mailbox full", Stage.RECIPIENT, BounceKind.FULL),
        ("RCPT", "550 5.7.1 relaying denied", Stage.RECIPIENT, BounceKind.POLICY),
        ("MAIL", "553 5.7.1 sender address rejected: not owned by user", Stage.SENDER, BounceKind.POLICY),
        ("MAIL", "550 5.1.1 user unknown", Stage.SENDER, BounceKind.POLICY),
        ("DATA", "554 5.7.1 no valid recipients: spam", Stage.DATA, BounceKind.POLICY),
        ("DOT", "552 5.3.4 message too big", Stage.DATA, BounceKind.TOO_LARGE),
    ],
)
def test_a_refusal_is_judged_as_a_returned_mail_is(place: str, answer: str, stage: Stage, kind: BounceKind) -> None:
    with server({place: answer}) as taker:
        outcome = delivered(taker)
    assert (outcome.delivery, outcome.stage, outcome.kind) == (Delivery.REFUSED, stage, kind)
    assert (outcome.code, outcome.said) == (int(answer[:3]), answer[4:])
    assert outcome.reason is not None
    assert taker.taken == []


def test_an_answer_that_smtp_does_not_know_is_no_proof_of_anything() -> None:
    with server({"DATA": "250 what"}) as taker:
        assert delivered(taker).delivery is Delivery.DEFERRED
    with server({"DOT": "354 what"}) as taker:
        assert delivered(taker).delivery is Delivery.UNKNOWN


def test_a_login_that_is_refused_is_told_before_anything_is_sent() -> None:
    with (
        server() as taker,
        pytest.raises(MailboxUnusable, match="refuses the credentials"),
        connected(taker.port, "wrong"),
    ):
        pass
    assert taker.seen == []


def test_an_address_that_needs_smtputf8_goes_to_a_server_that_has_it_alone() -> None:
    with server() as taker:
        outcome = delivered(taker, mail("jörg@bücher.example"))
    assert (outcome.delivery, outcome.stage, outcome.kind) == (Delivery.REFUSED, Stage.SENDER, BounceKind.UNKNOWN)
    assert "does not offer SMTPUTF8" in outcome.said
    assert taker.seen == []
    with server(smtputf8=True) as taker:
        assert delivered(taker, mail("jörg@bücher.example")).delivery is Delivery.SENT
    assert taker.taken[0].rcpt_tos == ["jörg@xn--bcher-kva.example"]
    assert taker.taken[0].content == mail("jörg@bücher.example").raw
    with server(smtputf8=True) as taker:
        assert delivered(taker).delivery is Delivery.SENT
    assert "SMTPUTF8" not in taker.taken[0].mail_options


def test_a_caller_that_disagrees_ends_the_delivery_before_the_mail_begins() -> None:
    def disagree() -> None:
        raise ValueError("stale")

    with server() as taker, connected(taker.port) as connection:
        with pytest.raises(ValueError, match="stale"):
            deliver(connection, mail(), before_data=disagree)
        assert taker.seen == ["MAIL", "RCPT", "RSET"]
        assert deliver(connection, mail()).delivery is Delivery.SENT


def test_the_end_of_a_mail_may_be_answered_later_than_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clients.ANSWER_SECONDS == connections.COMMAND_SECONDS == 600
    monkeypatch.setattr(connections, "READ_SECONDS", 0.5)
    monkeypatch.setattr(clients, "ANSWER_SECONDS", 1.5)

    def answer(line: bytes) -> bytes | None:
        if line.startswith(b"DATA"):
            return b"354 go on\r\n"
        if line in (b".\r\n", b""):
            return None
        is_command = line[:4].upper() in (b"EHLO", b"AUTH", b"MAIL", b"RCPT", b"RSET", b"QUIT")
        return smtp_answers()(line) if is_command else b""

    # The first answer comes in time for the end of a mail, and too late for a command; the second for neither.
    for pause, delivery in ((0.8, Delivery.SENT), (2.5, Delivery.UNKNOWN)):
        with (
            endless_server(b"250 OK\r\n", greeting=b"220 hello\r\n", pause=pause, answer=answer) as port,
            connected(port) as connection,
        ):
            assert deliver(connection, mail(text="hello")).delivery is delivery


def test_what_a_server_says_is_one_short_line() -> None:
    with server({"RCPT": "550-5.1.1 no\x1b[2J\r\n550 " + "x" * 5_000}) as taker:
        said = delivered(taker).said
    assert said.isprintable()
    assert len(said) == 500
