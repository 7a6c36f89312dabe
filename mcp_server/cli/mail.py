"""`mail explain | run | stop | start | settle`: shows the verdict of the rules on a mail, which needs no database;
reads the mailboxes; holds all sending; says what became of a mail."""

import json
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from db.domain.access import ACTOR_LOCAL, AuditEntry
from db.domain.mail import MailKind, Verdict
from db.domain.mail.judge import judge
from db.domain.states import SettledAs
from db.mail import parse_mail
from mcp_server.cli.output import plain, print_table
from mcp_server.cli.session import (
    EXIT_CODES,
    FAILED,
    INTERRUPTED,
    PARTLY,
    Home,
    complain,
    opened,
    settings_of,
    tell_of_clock,
    unusable,
)

if TYPE_CHECKING:
    from db.services import Session
    from db.services.mail.progress import MailboxProgress
    from mcp_server.mail.once import Outcome
    from mcp_server.process.app import App

MAIL_BYTES_MAX: Final = 150 * 1024 * 1024
"""No host takes larger mails."""

_EXIT_CODES: Final = "Exit codes: 0 done, 1 no file could be read, 2 the command can't be used, 3 some could be read."
_STOP_SECONDS: Final = 10.0
"""What `stop` waits for the mails that have begun."""
_NO_PERSON: Final = (MailKind.BOUNCE, MailKind.COMPLAINT)

cli = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Look at mails, read them, and stop all sending.",
    epilog=_EXIT_CODES,
)


@cli.callback()
def group() -> None:
    """Look at mails, read them, and stop all sending."""


@cli.command("explain", epilog=_EXIT_CODES)
def explain(
    files: Annotated[
        list[Path], typer.Argument(help="Mails as they came (.eml); - is the standard input.", metavar="FILES...")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Write a line of JSON for each file.")] = False,
) -> None:
    """Say what a mail is, by which rule, and on which of its sentences that rests."""
    today = datetime.now(UTC).date()
    failed = 0
    for file in files:
        try:
            raw = _read(file)
        except _Unreadable as error:
            failed += 1
            typer.echo(f"{plain(file)}: {error}", err=True)
            if as_json:
                typer.echo(json.dumps({"file": str(file), "error": str(error)}))
            continue
        verdict = judge(parse_mail(raw), today=today)
        if as_json:
            typer.echo(json.dumps(as_line(str(file), verdict)))
        else:
            _print(file, verdict)
    if failed:
        raise typer.Exit(PARTLY if failed < len(files) else FAILED)


@cli.command("run", epilog="Exit codes: 0 done, 1 a mailbox could not be used, 2 the command can't be used.")
def run(
    once: Annotated[
        bool, typer.Option("--once", help="End when all that is due is sent, and all that is there is read.")
    ] = False,
    send: Annotated[bool, typer.Option("--send", help="Send from the mailboxes, too.")] = False,
    include_overdue: Annotated[
        bool, typer.Option("--include-overdue", help="Send also what is due for more than 7 days.")
    ] = False,
    home: Home = None,
) -> None:
    """Read the mailboxes and send from them, as a server does. It is for cron and programs, where no server runs."""
    settings = settings_of(home=home, send=send or None)
    if include_overdue and not settings.send:
        raise unusable("--include-overdue is of what is sent: add --send.")
    if settings.read_only:
        raise unusable("SALES_AUTOMATION_READ_ONLY lets nothing be read or sent: unset it.")
    with opened(settings) as app:
        tell_of_clock(app)
        if not once:
            _run(app, include_overdue=include_overdue)
            return
        from mcp_server.mail.once import read_all, send_all  # noqa: PLC0415  `explain` needs none of it
        from mcp_server.mail.senders import tell_of_due  # noqa: PLC0415  as above

        if settings.send:
            tell_of_due(app)
            _tell_if_stopped(app)
        outcomes = read_all(app)  # before anything is sent: whoever has answered gets no more
        if settings.send:
            outcomes += send_all(app, include_overdue=include_overdue)
    for outcome in outcomes:
        typer.echo(f"{outcome.address}: {_told(outcome)}")
    if not outcomes:
        typer.echo("There is no mailbox to read. `mailboxes add` connects one.")
    if any(outcome.problem for outcome in outcomes):
        raise typer.Exit(FAILED)


@cli.command("stop", epilog=EXIT_CODES)
def stop(home: Home = None) -> None:
    """Stop all sending from mailboxes, in every server, until `mail start`. No mail begins after this has ended."""
    from mcp_server.mail import switch  # noqa: PLC0415  `explain` needs none of it

    with opened(settings_of(home=home)) as app:
        left = switch.stop(app, actor=ACTOR_LOCAL, patience=_STOP_SECONDS)
    typer.echo("Sending is stopped. No mail begins until `mail start`.")
    if left:
        typer.echo(f"{left} had begun before, and their mail servers have not answered yet.")


@cli.command("start", epilog=EXIT_CODES)
def start(home: Home = None) -> None:
    """Let servers send from mailboxes again, after `mail stop`."""
    from mcp_server.mail import switch  # noqa: PLC0415  `explain` needs none of it

    with opened(settings_of(home=home)) as app:
        switch.start(app, actor=ACTOR_LOCAL)
    typer.echo("Servers may send again.")


@cli.command("settle", epilog=EXIT_CODES)
def settle(
    message_id: Annotated[UUID, typer.Argument(help="The id of a mail whose status is unknown, or of a queued reply.")],
    outcome: Annotated[SettledAs, typer.Argument(help="Whether it went out.")],
    home: Home = None,
) -> None:
    """Say whether a mail with status unknown went out, after a look at its mailbox. not_sent lets the mail of a step be
    sent again, and withdraws a queued reply."""
    with opened(settings_of(home=home)) as app:
        settle = partial(_settle, message_id=message_id, outcome=outcome, now=app.clock())
        is_reply = app.run("settle a mail", settle)
    if outcome is SettledAs.SENT:
        typer.echo("It was sent.")
    else:
        typer.echo("It was not sent: " + ("its thread waits for another." if is_reply else "its step is due again."))


def _settle(session: "Session", *, message_id: UUID, outcome: SettledAs, now: datetime) -> bool:
    """Returns whether the mail is a reply."""
    from db.services.ops import audit  # noqa: PLC0415  `explain` needs none of it
    from db.services.outgoing import settling  # noqa: PLC0415  as above

    row = settling.settle_message(session, message_id=message_id, outcome=outcome, now=now)
    entry = AuditEntry.done(ACTOR_LOCAL, "settle_message", {"message": [str(message_id)]}, now)
    audit.write(session, entries=[entry])
    return row.replies_to is not None


def _tell_if_stopped(app: "App") -> None:
    from db.services.mail import stopping  # noqa: PLC0415  `explain` needs none of it

    stopped_at = app.run("look whether sending is stopped", stopping.stopped_at, read_only=True)
    if stopped_at is not None:
        complain(f"all sending is stopped since {stopped_at:%Y-%m-%d %H:%M}Z, until `mail start`.")


def _run(app: "App", *, include_overdue: bool) -> None:
    """Reads, and sends if it is to, until the process is told to stop."""
    from mcp_server.mail.readers import Readers  # noqa: PLC0415  `explain` needs none of it
    from mcp_server.mail.senders import Senders  # noqa: PLC0415  as above

    senders = [Senders(app, include_overdue=include_overdue)] if app.settings.send else []
    loops = [*senders, Readers(app, looks_at_domains=not senders)]
    for one in loops:
        one.start()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        for one in loops:
            one.signal()
        for one in loops:
            one.stop()


def _told(outcome: "Outcome") -> str:
    reached, said = outcome.progress, list[str]()
    if outcome.sent is not None and (outcome.sent or _is_done(outcome)):
        said.append(f"{outcome.sent} sent{_left(reached)}.")
    if outcome.problem is not None:
        said.append(plain(outcome.problem))
    elif reached is None:
        said.append("It was removed.")
    elif outcome.is_elsewhere:
        holder, does = (reached.reader, "reads") if outcome.sent is None else (reached.sender, "sends from")
        said.append(f"Another process {does} it ({plain(holder or 'unknown')}).")
    elif outcome.sent is None:
        counts = f"{reached.recorded} recorded, {reached.unrelated} unrelated, {reached.pending} pending"
        said.append(f"{reached.read} read in all: {counts}.")
    return " ".join(said)


def _is_done(outcome: "Outcome") -> bool:
    return outcome.problem is None and not outcome.is_elsewhere and outcome.progress is not None


def _left(reached: "MailboxProgress | None") -> str:
    """Returns what became of mails that were not sent, as far as it is not settled."""
    if reached is None:
        return ""
    waiting = f", {reached.queued} wait for another try" if reached.queued else ""
    return waiting + (f", {reached.unknown} of which nobody knows" if reached.unknown else "")


def as_line(file: str, verdict: Verdict) -> dict[str, Any]:
    """Returns the verdict on one file in the form of `--json`."""
    return {
        "file": file,
        "kind": verdict.kind.value,
        "recipients": [
            {"address": recipient.address, "bounce": recipient.bounce.value} for recipient in verdict.recipients
        ],
        "until": verdict.until.isoformat() if verdict.until else None,
        "text": "" if verdict.kind in _NO_PERSON else verdict.text,
        "rule": verdict.reason.rule,
        "evidence": verdict.reason.evidence,
        "findings": [finding.value for finding in verdict.findings],
    }


class _Unreadable(Exception):
    """A file that can't be read as a mail. The text says why, and what to do."""


def _read(file: Path) -> bytes:
    if str(file) == "-":
        raw = sys.stdin.buffer.read(MAIL_BYTES_MAX + 1)
    else:
        try:
            with file.open("rb") as opened:
                raw = opened.read(MAIL_BYTES_MAX + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no path can be that"
            raise _Unreadable(f"can't be read ({reason}). Give the path of a mail that was saved as it came.") from None
    if not raw.strip():
        raise _Unreadable("is empty. Save the mail again, with its headers.")
    if len(raw) > MAIL_BYTES_MAX:
        raise _Unreadable("is larger than any mail. Give a single mail, not a mailbox file.")
    return raw


def _print(file: Path, verdict: Verdict) -> None:
    line = as_line(str(file), verdict)
    recipients = ", ".join(f"{recipient['address']} ({recipient['bounce']})" for recipient in line["recipients"])
    rows = (
        ("File", line["file"]),
        ("Kind", line["kind"]),
        ("Recipients", recipients),
        ("Until", line["until"]),
        ("Successor", verdict.successor),
        ("Rule", line["rule"]),
        ("Evidence", line["evidence"]),
        ("Findings", ", ".join(line["findings"])),
        ("Text", line["text"]),
    )
    print_table(("Field", "Value"), ((name, value) for name, value in rows if value))
    typer.echo("")
