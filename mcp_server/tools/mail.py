"""Mailboxes: the accounts that mail is sent from and read in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

from pydantic import Field

from db.domain.access import Scope
from db.domain.errors import Refused
from db.domain.field_limits import SIGNATURE_MAX
from db.domain.mail.visible import visible
from db.domain.mailboxes import CredentialSource, MailboxStatus, Service
from db.services.mail import mailboxes, progress, recording, sorting
from db.services.mail.mailboxes import MailboxChange
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call, Mode
from mcp_server.calls.caller import missing_scope
from mcp_server.mail import checks, hosts, step_tests
from mcp_server.mail.access import Access, sources_of
from mcp_server.mail.delivery import Delivery
from mcp_server.schemas import undo
from mcp_server.schemas.base import Detail, Moment, Prose, given, told_in
from mcp_server.schemas.campaigns import DailyLimit, MinGap, RampUp, SendingWindow
from mcp_server.schemas.contacts import Email
from mcp_server.schemas.mailboxes import (
    CheckList,
    CheckOut,
    DisplayName,
    ImapIn,
    MailboxAnswer,
    MailboxLine,
    MailboxList,
    MailboxName,
    MailboxOut,
    MailboxReport,
    MailboxReportAnswer,
    MailReplayed,
    Pace,
    SentTest,
    SmtpIn,
)
from mcp_server.schemas.templates import StepNumber
from mcp_server.schemas.zones import TimeZone

if TYPE_CHECKING:
    from db.models import Mailbox
    from db.services import Session

Signature = Annotated[Prose | None, Field(min_length=1, max_length=SIGNATURE_MAX)]
Clearable = Literal["display_name", "signature", "daily_limit", "hourly_limit", "ramp_up", "window", "timezone"]
_REPLAYED_AT_ONCE = 200
_as_in_connect = told_in("in connect_mailbox")


@toolsets.ops.write("Connect a mailbox", mode=Mode.APART)
def connect_mailbox(
    call: Call,
    address: Email,
    smtp: SmtpIn,
    imap: Annotated[ImapIn | None, told_in("smtp; default port 993")] = None,
    display_name: DisplayName = None,
    daily_limit: DailyLimit | None = None,
    hourly_limit: DailyLimit | None = None,
    min_gap_seconds: MinGap | None = None,
    ramp_up: RampUp | None = None,
    window: SendingWindow | None = None,
    timezone: TimeZone | None = None,
    signature: Signature = None,
) -> MailboxAnswer:
    """Add an account to send from and, with imap, to read. It starts with 50 mails a day, 90 seconds apart.

    Passwords never pass through a tool: next_step says how a person gives them. Next: check_mailbox.
    """
    pace = Pace(
        daily_limit=daily_limit,
        hourly_limit=hourly_limit,
        min_gap_seconds=min_gap_seconds,
        ramp_up=ramp_up,
        window=window,
        timezone=timezone,
    )
    change = _change(smtp, imap, display_name, signature, pace)
    _check_hosts(call, change)
    return _kept(call, lambda session: _answer(mailboxes.connect(session, address=address, change=change)))


@toolsets.mail.write("Update a mailbox", mode=Mode.APART, idempotent=True)
def update_mailbox(  # noqa: PLR0913, PLR0917  all that a mailbox has
    call: Call,
    mailbox: MailboxName,
    status: Annotated[Literal["active", "paused"] | None, Field(description="paused holds its people")] = None,
    smtp: Annotated[SmtpIn | None, _as_in_connect] = None,
    imap: Annotated[ImapIn | None, _as_in_connect] = None,
    display_name: DisplayName = None,
    daily_limit: DailyLimit | None = None,
    hourly_limit: DailyLimit | None = None,
    min_gap_seconds: MinGap | None = None,
    ramp_up: Annotated[RampUp | None, _as_in_connect] = None,
    window: Annotated[SendingWindow | None, _as_in_connect] = None,
    timezone: TimeZone | None = None,
    signature: Signature = None,
    clear: Annotated[list[Clearable] | None, Field(description="What to take away")] = None,
) -> MailboxAnswer:
    """Change a mailbox, by its address or id. Fields left out stay. A new host or username needs the scope ops, and the
    credentials again."""
    pace = Pace(
        daily_limit=daily_limit,
        hourly_limit=hourly_limit,
        min_gap_seconds=min_gap_seconds,
        ramp_up=ramp_up,
        window=window,
        timezone=timezone,
    )
    change = replace(_change(smtp, imap, display_name, signature, pace), clear=frozenset(clear or ()))
    if smtp is not None or imap is not None:
        _require_ops(call)
        _check_hosts(call, change)
    is_paused = None if status is None else status == MailboxStatus.PAUSED
    changed = [*given(status=status, smtp=smtp, imap=imap, display_name=display_name, signature=signature)]
    changed += [*pace.to_json(), *(clear or ())]

    def work(session: "Session") -> MailboxAnswer:
        before = mailboxes.find(session, mailbox=mailbox, is_locked=True)
        back = undo.of_mailbox(MailboxOut.of(before, sources_of(before)), changed=changed)
        row = mailboxes.update(session, mailbox=mailbox, change=change, is_paused=is_paused, now=call.now)
        return _answer(row, back)

    return _kept(call, work)


@toolsets.mail.read("List the mailboxes")
def list_mailboxes(call: Call, detail: Detail = "concise") -> MailboxList:
    """List the accounts to send from and to read, with what is wrong. Next: get_mailbox or check_mailbox."""
    rows = mailboxes.list_(call.session)
    return MailboxList(
        mailboxes=[
            MailboxLine(
                id=row.id,
                address=row.address,
                status=MailboxStatus(row.status),
                problem=row.problem,
                mailbox=MailboxOut.of(row, sources_of(row)) if detail == "full" else None,
            )
            for row in rows
        ]
    )


@toolsets.mail.read("Get a mailbox")
def get_mailbox(call: Call, mailbox: MailboxName) -> MailboxReportAnswer:
    """Show a mailbox: servers, pace, how far it is read, problems."""
    row = mailboxes.find(call.session, mailbox=mailbox)
    answer = _answer(row)
    reached = progress.of_mailboxes(call.session, rows=[row], now=call.now)[row.id]
    return MailboxReportAnswer(mailbox=MailboxReport.told(answer.mailbox, reached), next_step=answer.next_step)


@toolsets.mail.read("Check a mailbox", mode=Mode.APART, open_world=True)
def check_mailbox(call: Call, mailbox: MailboxName) -> CheckList:
    """Sign in to the servers of a mailbox, and check its folders and its domain's DNS. Sends nothing."""
    access = call.app.run(
        "read mailbox",
        lambda session: Access.of(call.app, mailboxes.find(session, mailbox=mailbox)),
        read_only=True,
    )
    return CheckList(checks=[CheckOut.model_validate(check) for check in checks.run(access)])


@toolsets.ops.write("Replay mail", mode=Mode.APART, idempotent=True)
def replay_mail(call: Call, mailbox: MailboxName | None = None, since: Moment | None = None) -> MailReplayed:
    """Classify the mails that came in again, by today's rules; nothing counts twice. What was sorted by hand stays."""
    mailbox_id = None
    if mailbox is not None:
        mailbox_id = call.app.run(
            "find mailbox", lambda session: mailboxes.find(session, mailbox=mailbox).id, read_only=True
        )
    answer = MailReplayed(replayed=0, changed=0)
    failed = call.app.run("try mail again", partial(recording.try_again, mailbox_id=mailbox_id))
    for id_ in failed:
        record = partial(recording.record_some, mailbox_id=id_, limit=_REPLAYED_AT_ONCE, now=call.now)
        while count := call.app.run("record mail", record):
            answer.replayed += count
            answer.changed += count
    after: UUID | None = None
    while True:
        done = call.app.run("replay mail", partial(_replay, mailbox_id, since, after, call.now))
        if done.last is None:
            break
        after = done.last
        answer.replayed += done.replayed
        answer.changed += done.changed
    call.app.run("audit", lambda session: call.note(session, answer.model_dump(mode="json")))
    return answer


def _replay(
    mailbox_id: UUID | None, since: datetime | None, after: UUID | None, now: datetime, session: "Session"
) -> sorting.Replayed:
    return sorting.replay_some(
        session, mailbox_id=mailbox_id, since=since, after=after, limit=_REPLAYED_AT_ONCE, now=now
    )


@toolsets.mail.write("Send a test", mode=Mode.APART, open_world=True)
def send_test(
    call: Call, campaign_id: UUID, step_number: StepNumber, mailbox: MailboxName, to: MailboxName
) -> SentTest:
    """Send an email step to one of our own mailboxes, as the campaign's first person (or an invented one) gets it."""
    test = call.app.run(
        "prepare a test",
        lambda session: step_tests.prepare(
            call.app,
            session,
            campaign_id=campaign_id,
            step_number=step_number,
            mailbox=mailbox,
            to=to,
            now=call.now,
        ),
        read_only=True,
    )
    outcome = step_tests.send(test)  # no transaction is open meanwhile
    answer = SentTest(
        sent=outcome.delivery is Delivery.SENT,
        internet_message_id=test.mail.internet_message_id,
        outcome=None if outcome.delivery is Delivery.SENT else outcome.delivery,
        detail=step_tests.in_words(outcome),
        server_said=None if outcome.delivery is Delivery.SENT else visible(outcome.said) or None,
    )
    call.note_apart(answer.model_dump(mode="json"))
    return answer


def _change(
    smtp: SmtpIn | None, imap: ImapIn | None, display_name: str | None, signature: str | None, pace: Pace
) -> MailboxChange:
    return MailboxChange(
        smtp=None if smtp is None else smtp.to_server(),
        imap=None if imap is None else imap.to_server(),
        display_name=display_name,
        signature=signature,
        settings=pace.to_json(),
    )


def _check_hosts(call: Call, change: MailboxChange) -> None:
    for server in (change.smtp, change.imap):
        if server is not None:
            hosts.check(server, allow_private=call.app.settings.allow_private_hosts)


def _require_ops(call: Call) -> None:
    # Whoever moves a mailbox elsewhere has its password sent there.
    missing = missing_scope(call.invocation.caller, Scope.OPS, "smtp and imap of update_mailbox")
    if missing is not None:
        raise Refused(missing)


def _kept(call: Call, work: "Callable[[Session], MailboxAnswer]") -> MailboxAnswer:
    """Returns what the tool answers once its change, with its row of the audit log, is committed."""

    def change(session: "Session") -> MailboxAnswer:
        answer = work(session)
        call.note(session, answer.model_dump(mode="json"))
        return answer

    kept = call.app.run(call.tool.name, change)
    call.app.mailboxes_changed.set()
    return kept


def _answer(row: "Mailbox", back: str | None = None) -> MailboxAnswer:
    sources = sources_of(row)
    missing = [
        service
        for service in (Service.SMTP, *((Service.IMAP,) if row.imap_host else ()))
        if sources[service] is CredentialSource.MISSING
    ]
    told = f"A person must give the password: sales-automation-mcp mailboxes add {row.address}" if missing else None
    return MailboxAnswer(mailbox=MailboxOut.of(row, sources), next_step=told, undo=back)
