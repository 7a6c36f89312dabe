"""Mailboxes: connected, changed, found by address or id, and their encrypted credentials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, or_, select, text
from sqlalchemy.orm import Session

from db.domain.errors import Conflict, InvalidInput, NotFound, Refused
from db.domain.field_limits import MAILBOXES_MAX
from db.domain.guardrails import is_guardrail
from db.domain.mailboxes import (
    MAILBOX_TRANSITIONS,
    MailboxCommand,
    MailboxStatus,
    MailServer,
    Security,
    Service,
    variable_suffix,
    with_defaults,
)
from db.domain.states import MessageStatus
from db.models import Mailbox
from db.services.mail import pools, threads
from db.services.state import reply_rows

_FOUND_BY: Final = (
    "list_mailboxes shows those there are (mailboxes list on the command line); connect_mailbox adds one."
)


@dataclass(frozen=True, slots=True)
class MailboxChange:
    """What a call gives of a mailbox. None leaves a field as it is; settings holds those that are given.

    clear: names of fields and settings to take away. InvalidInput where one of them is given as well.
    """

    smtp: MailServer | None = None
    imap: MailServer | None = None
    display_name: str | None = None
    signature: str | None = None
    settings: Mapping[str, Any] | None = None
    clear: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        given = {name for name in ("display_name", "signature") if getattr(self, name) is not None}
        both = sorted(self.clear & {*given, *(self.settings or {})})
        if both:
            raise InvalidInput(f"{both[0]} is given, and in clear: do one of the two.")


def connect(session: Session, *, address: str, change: MailboxChange) -> Mailbox:
    """Adds a mailbox, without credentials. `change.smtp` is given.

    Conflict if the address is connected already, or would share its variable for a password with another.
    """
    assert change.smtp is not None, "the tool and the command ask for it"
    known = session.scalars(select(Mailbox.address).order_by(Mailbox.address)).all()
    if address in known:
        raise Conflict(f"{address} is connected already. update_mailbox changes it.")
    if len(known) >= MAILBOXES_MAX:
        raise Refused(f"There are {MAILBOXES_MAX:,} mailboxes, as many as can be. Remove one that is not used.")
    same = next((other for other in known if variable_suffix(other) == variable_suffix(address)), None)
    if same is not None:
        raise Conflict(
            f"{address} and {same} would share the variable ..._{variable_suffix(address)} for their passwords, so "
            "one would be used for the other. Connect it under another address."
        )
    smtp = change.smtp
    mailbox = Mailbox(
        address=address,
        smtp_host=smtp.host,
        smtp_port=smtp.port,
        smtp_security=smtp.security,
        status=MailboxStatus.ACTIVE,
        settings=with_defaults(change.settings or {}),
    )
    _apply(mailbox, change)
    session.add(mailbox)
    session.flush()  # raises a failure here
    return mailbox


def update(
    session: Session,
    *,
    mailbox: UUID | str,
    change: MailboxChange,
    is_paused: bool | None = None,
    now: datetime | None = None,
) -> Mailbox:
    """Changes a mailbox. A new host, or another user there, drops the stored credentials of that server: they were
    given for the old one alone. `now` goes with is_paused."""
    row = find(session, mailbox=mailbox, is_locked=True)
    _apply(row, change)
    settings = {**row.settings, **(change.settings or {})}
    row.settings = {name: value for name, value in settings.items() if name not in change.clear}
    if is_paused is not None:
        command(session, row=row, command=MailboxCommand.PAUSE if is_paused else MailboxCommand.RESUME, now=now)
    session.flush()  # raises a failure here
    return row


def command(
    session: Session,
    *,
    row: Mailbox,
    command: MailboxCommand,
    problem: str | None = None,
    now: datetime | None = None,
) -> None:
    """Moves a mailbox, read under lock, to the state that follows. `problem` and `now` go with FAIL. After a guardrail
    has paused it, RESUME makes the guardrails count what happens from `now` on."""
    row.status = MAILBOX_TRANSITIONS[MailboxStatus(row.status), command]
    is_guarded = is_guardrail(row.problem)
    if command is MailboxCommand.RESUME:
        row.refusals = 0
        row.guarded_since = now if is_guarded else row.guarded_since
    if row.status == MailboxStatus.FAILING:
        row.problem, row.problem_at = problem or row.problem, row.problem_at or now
    elif row.status == MailboxStatus.ACTIVE or not is_guarded:
        row.problem, row.problem_at = None, None
    session.flush()


_NOTE_REFUSAL = text("""
    UPDATE mailboxes SET refusals = refusals + 1, updated_at = now() WHERE id = :mailbox RETURNING refusals
""")


def note_refusal(session: Session, *, mailbox_id: UUID) -> int:
    """Counts that the SMTP server refused a mail for what the mailbox is. Returns how many such refusals there were in
    a row."""
    return session.scalar(_NOTE_REFUSAL, {"mailbox": mailbox_id}) or 0


def find(session: Session, *, mailbox: UUID | str, is_locked: bool = False) -> Mailbox:
    """Returns a mailbox by its id or its address, in whatever case. NotFound if there is none."""
    row = session.scalars(_of(mailbox).with_for_update() if is_locked else _of(mailbox)).one_or_none()
    if row is None:
        raise NotFound("mailbox", mailbox, hint=_FOUND_BY)
    return row


def list_(session: Session, *, is_locked: bool = False) -> Sequence[Mailbox]:
    """Returns all mailboxes, by address: at most 1,000."""
    every = select(Mailbox).order_by(Mailbox.address).limit(MAILBOXES_MAX)
    return session.scalars(every.with_for_update() if is_locked else every).all()


def list_read(session: Session) -> Sequence[Mailbox]:
    """Returns the mailboxes that are to be read, by address: those with an IMAP server that no person has paused.
    What a guardrail has paused still gets answers."""
    is_read = or_(Mailbox.status != MailboxStatus.PAUSED, Mailbox.problem.is_not(None))
    to_read = (Mailbox.imap_host.is_not(None), is_read)
    return session.scalars(select(Mailbox).where(*to_read).order_by(Mailbox.address).limit(MAILBOXES_MAX)).all()


def list_sending(session: Session) -> Sequence[Mailbox]:
    """Returns the mailboxes that send: those that are not paused, by address."""
    to_send = Mailbox.status != MailboxStatus.PAUSED
    return session.scalars(select(Mailbox).where(to_send).order_by(Mailbox.address).limit(MAILBOXES_MAX)).all()


def store_credentials(session: Session, *, row: Mailbox, given: Mapping[Service, bytes]) -> None:
    """Keeps encrypted credentials, of SMTP, IMAP or both. InvalidInput for IMAP where the mailbox has none."""
    for service, encrypted in given.items():
        if service is Service.IMAP and row.imap_host is None:
            raise InvalidInput(f"{row.address} has no IMAP server. update_mailbox sets one.")
        setattr(row, f"{service}_credential", encrypted)
    session.flush()


def credential_of(row: Mailbox, service: Service) -> bytes | None:
    """Returns the encrypted credential for one server; None where none is stored."""
    return row.smtp_credential if service is Service.SMTP else row.imap_credential


# What it was sending when its process ended: nobody takes it over any more, and a person settles it.
_LOSE = text(f"""
    UPDATE messages SET status = '{MessageStatus.UNKNOWN}', updated_at = now()
    WHERE mailbox_id = :mailbox AND status = '{MessageStatus.SENDING}' RETURNING action_id
""")


def remove(session: Session, *, mailbox: UUID | str, move_to: UUID | str | None = None) -> tuple[str, int]:
    """Removes a mailbox with its credentials. Returns its address, and how many people another one writes to instead.

    move_to: the mailbox that takes over its people and its place in campaigns. Refused without it if there are any.
    """
    row = find(session, mailbox=mailbox, is_locked=True)
    moved = 0
    if move_to is None:
        pools.check_unused(session, mailbox_id=row.id, address=row.address)
    else:
        other = find(session, mailbox=move_to)
        if other.id == row.id:
            raise InvalidInput(f"{row.address} can't take over its own people. Name another mailbox.")
        moved = pools.move(session, mailbox_id=row.id, address=row.address, to=(other.id, other.address))
    lost = session.scalars(_LOSE, {"mailbox": row.id}).all()
    threads.join_steps(session, action_ids=[action_id for action_id in lost if action_id is not None])
    reply_rows.drop_of_mailbox(session, mailbox_id=row.id, why=f"The mailbox {row.address} was removed.")
    session.delete(row)
    session.flush()
    return row.address, moved


def server_of(row: Mailbox, service: Service) -> MailServer | None:
    """Returns where the mailbox sends or is read; None where it has no IMAP server."""
    if service is Service.SMTP:
        return MailServer(row.smtp_host, row.smtp_port, Security(row.smtp_security), row.smtp_username)
    if row.imap_host is None or row.imap_port is None or row.imap_security is None:
        return None
    return MailServer(row.imap_host, row.imap_port, Security(row.imap_security), row.imap_username)


def _of(mailbox: UUID | str) -> Select[Mailbox]:
    id_ = _uuid(mailbox)
    address = Mailbox.address == str(mailbox).strip().lower()
    return select(Mailbox).where(address if id_ is None else or_(Mailbox.id == id_, address))


def _uuid(value: UUID | str) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None


def _apply(row: Mailbox, change: MailboxChange) -> None:
    for service, server in ((Service.SMTP, change.smtp), (Service.IMAP, change.imap)):
        if server is not None:
            _move(row, service, server)
    if change.display_name is not None:
        row.display_name = change.display_name
    if change.signature is not None:
        row.signature = change.signature
    for name in change.clear & {"display_name", "signature"}:
        setattr(row, name, None)


def _move(row: Mailbox, service: Service, server: MailServer) -> None:
    before = server_of(row, service)
    if before is not None and (before.host, before.user(row.address)) != (server.host, server.user(row.address)):
        setattr(row, f"{service}_credential", None)
    for field in ("host", "port", "security", "username"):
        setattr(row, f"{service}_{field}", getattr(server, field))
