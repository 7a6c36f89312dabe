"""Delivers one mail over an open connection, command by command, and says what became of it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final

from db.domain.mail.verdict import BounceKind, Reason
from db.domain.texts import one_line

if TYPE_CHECKING:
    from db.mail import ComposedMail
    from mcp_server.mail.clients import Smtp

_SAID_CHARACTERS: Final = 500
_SERVICE_ENDS: Final = 421
_GO_ON: Final = 354


class Delivery(StrEnum):
    """What became of a mail. `deferred`: not taken, and may be tried again. `unknown`: the connection ended after the
    mail had begun and before the server answered, so it may have been taken."""

    SENT = "sent"
    REFUSED = "refused"
    DEFERRED = "deferred"
    UNKNOWN = "unknown"


class Stage(StrEnum):
    """What the server was told when it refused, or when the connection ended."""

    SENDER = "sender"
    RECIPIENT = "recipient"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mail, and how far it got.

    code, said: the server's answer, `said` as one line, untrusted; None and an empty text if there was none.
    kind, reason: why it was refused, by the rules of returned mail; None unless it was.
    """

    delivery: Delivery
    stage: Stage
    code: int | None = None
    said: str = ""
    kind: BounceKind | None = None
    reason: Reason | None = None


def deliver(
    connection: "Smtp",
    mail: "ComposedMail",
    *,
    before_data: Callable[[], None] = lambda: None,
    waits_for_copies: bool = True,
) -> Outcome:
    """Sends the mail and returns what became of it. Where the server is not gone, it takes the next mail afterwards.

    before_data: called once the server has taken sender and recipient, before it is told anything of the mail itself.
    What it raises ends the delivery, and is raised. The mail goes out without those copies that the server refuses, and
    `said` names them; with waits_for_copies it is deferred for one that the server does not take yet.
    """
    if mail.needs_smtputf8 and not connection.has_extn("smtputf8"):
        told = "The server does not offer SMTPUTF8, which an address with other letters than a to z needs."
        return Outcome(
            Delivery.REFUSED, Stage.SENDER, None, told, BounceKind.UNKNOWN, Reason.of("needs_smtputf8", told)
        )
    not_taken: list[str] = []
    outcome = _envelope(connection, mail) or _copies(connection, mail, not_taken, is_patient=waits_for_copies)
    if outcome is None:
        try:
            before_data()
        except BaseException:
            _reset(connection)
            raise
        outcome = _data(connection, mail)
        if not_taken:
            told = f"{outcome.said} No copy went to {', '.join(not_taken)}."
            outcome = replace(outcome, said=told[:_SAID_CHARACTERS])
    if outcome.delivery is not Delivery.SENT:
        _reset(connection, outcome)
    return outcome


def _envelope(connection: "Smtp", mail: "ComposedMail") -> Outcome | None:
    """Returns None once the server has taken sender and recipient."""
    options = ["SMTPUTF8", "BODY=8BITMIME"] if mail.needs_smtputf8 else []
    if connection.has_extn("size"):
        options.append(f"SIZE={len(mail.raw)}")
    sender = _command(Stage.SENDER, lambda: connection.mail(mail.sender, options))
    return sender or _command(Stage.RECIPIENT, lambda: connection.rcpt(mail.recipient))


def _copies(connection: "Smtp", mail: "ComposedMail", not_taken: list[str], *, is_patient: bool) -> Outcome | None:
    """Names those who get a copy. Returns why the mail has to wait, if it has; adds to not_taken who gets none."""
    for address in mail.cc:
        refusal = _command(Stage.RECIPIENT, partial(connection.rcpt, address))
        if refusal is None:
            continue
        is_gone = refusal.code in (None, _SERVICE_ENDS)
        if is_gone or (is_patient and refusal.delivery is Delivery.DEFERRED):
            return refusal
        not_taken.append(address)
    return None


def _command(stage: Stage, ask: Callable[[], tuple[int, bytes]]) -> Outcome | None:
    try:
        code, said = ask()
    except OSError:  # those of smtplib too
        return Outcome(Delivery.DEFERRED, stage)
    return None if 200 <= code < 300 else _answered(stage, code, said)


def _data(connection: "Smtp", mail: "ComposedMail") -> Outcome:
    try:
        code, said = connection.docmd("DATA")
    except OSError:
        return Outcome(Delivery.DEFERRED, Stage.DATA)
    if code != _GO_ON:
        return _answered(Stage.DATA, code, said)
    try:
        code, said = connection.content(mail.raw)
    except OSError:
        return Outcome(Delivery.UNKNOWN, Stage.DATA)
    if 200 <= code < 300:
        return Outcome(Delivery.SENT, Stage.DATA, code, _line(said))
    if not 400 <= code < 600:  # no answer that SMTP knows
        return Outcome(Delivery.UNKNOWN, Stage.DATA, code, _line(said))
    return _answered(Stage.DATA, code, said)


def _answered(stage: Stage, code: int, answer: bytes) -> Outcome:
    from db.domain.mail.bounces import reason_of  # noqa: PLC0415  a server starts without its patterns, which take long

    said = _line(answer)
    if not 500 <= code < 600:
        return Outcome(Delivery.DEFERRED, stage, code, said)
    kind, reason = reason_of((f"{code} {said}",))
    if stage is Stage.SENDER and kind is BounceKind.HARD:  # the recipient was not named yet
        kind = BounceKind.POLICY
    return Outcome(Delivery.REFUSED, stage, code, said, kind, reason)


def _line(answer: bytes) -> str:
    return one_line(answer.decode("utf-8", "replace")).strip()[:_SAID_CHARACTERS]


def _reset(connection: "Smtp", outcome: Outcome | None = None) -> None:
    """Makes the connection ready for the next mail. Where it is not known what the server waits for, it is closed."""
    is_known = outcome is None or (outcome.code is not None and 400 <= outcome.code < 600)
    if not is_known or (outcome is not None and outcome.code == _SERVICE_ENDS):
        connection.close()
    elif connection.sock is not None:
        with suppress(OSError):
            connection.rset()
