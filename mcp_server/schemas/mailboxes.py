"""Mailboxes."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Self
from uuid import UUID

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from db.domain import field_limits
from db.domain.mailboxes import (
    CheckStatus,
    CredentialSource,
    MailboxStatus,
    MailServer,
    Security,
    Service,
    usual_security,
)
from mcp_server.schemas.base import Answer, Given, Line, Maybe, Second, Undo, is_nothing, no_flag, untold
from mcp_server.schemas.campaigns import DailyLimit, MinGap, RampUp, SendingWindow
from mcp_server.schemas.zones import TimeZone

if TYPE_CHECKING:
    from db.models import Mailbox
    from db.services.mail.progress import MailboxProgress

_HOST = re.compile(r"(?:[\w-]{1,63}\.)*[\w-]{1,63}|\[?[0-9a-fA-F:.]+\]?")


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise PydanticCustomError("host", "must be a host name such as smtp.example.com: no scheme, no port")
    return text.lower().strip("[]")


Host = Annotated[Line, Field(min_length=1, max_length=field_limits.HOST_MAX), AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=65_535), no_flag]
MailboxName = Annotated[Line, Field(min_length=3, max_length=field_limits.EMAIL_MAX)]
"""Its id or its address."""


class ServerIn(Given):
    """A server of a mailbox. username: default its address."""

    host: Host
    port: Port
    security: Security | None = None
    username: Annotated[Line | None, Field(max_length=field_limits.MAILBOX_USERNAME_MAX)] = None

    def to_server(self) -> MailServer:
        """Returns the server. Default security: that which is usual for the port."""
        return MailServer(self.host, self.port, self.security or usual_security(self.port), self.username)


class SmtpIn(ServerIn):
    """Where it sends; username: default its address"""

    port: Port = 587


class ImapIn(ServerIn):
    """Where it is read"""

    port: Port = 993


DisplayName = Annotated[Line | None, Field(max_length=field_limits.NAME_MAX, description="Shown as the sender")]


class Pace(Given):
    """When and how much a mailbox sends."""

    daily_limit: DailyLimit | None = None
    hourly_limit: DailyLimit | None = None
    min_gap_seconds: MinGap | None = None
    ramp_up: RampUp | None = None
    window: SendingWindow | None = None
    timezone: TimeZone | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns it in the stored form, without unset fields."""
        return self.model_dump(mode="json", exclude_none=True)


class ServerOut(Answer):
    host: str
    port: int
    security: Security
    username: Maybe[str] = None
    credentials: CredentialSource


class MailboxOut(Answer):
    id: UUID
    address: str
    status: MailboxStatus
    problem: Annotated[Maybe[str], Field(description="Why it is failing or a guardrail paused it, and what to do.")] = (
        None
    )
    problem_at: Maybe[Second] = None
    display_name: Maybe[str] = None
    signature: Maybe[str] = None
    smtp: ServerOut
    imap: Maybe[ServerOut] = None
    settings: Annotated[dict[str, Any], Field(description="Its pace, as connect_mailbox takes it.")]
    created_at: Maybe[datetime] = None

    @classmethod
    def of(cls, row: "Mailbox", sources: dict[Service, CredentialSource]) -> Self:
        imap = None
        if row.imap_host is not None:
            imap = _server(row, Service.IMAP, sources)
        return cls(
            id=row.id,
            address=row.address,
            status=MailboxStatus(row.status),
            problem=row.problem,
            problem_at=row.problem_at,
            display_name=row.display_name,
            signature=row.signature,
            smtp=_server(row, Service.SMTP, sources),
            imap=imap,
            settings=row.settings,
            created_at=row.created_at,
        )


def _server(row: "Mailbox", service: Service, sources: dict[Service, CredentialSource]) -> ServerOut:
    fields = {field: getattr(row, f"{service}_{field}") for field in ("host", "port", "security", "username")}
    return ServerOut(**fields, credentials=sources[service])


class MailboxLine(Answer):
    """A mailbox in a list."""

    id: UUID
    address: str
    status: MailboxStatus
    problem: Maybe[str] = None
    mailbox: Maybe[MailboxOut] = None


class MailboxList(Answer):
    mailboxes: list[MailboxLine]


class MailboxAnswer(Answer):
    mailbox: MailboxOut
    next_step: Annotated[Maybe[str], Field(description="What is missing before it can be used.")] = None
    undo: Undo = None


_ADVICE: Final = (
    "Nobody knows whether the mails that are unknown went out. list_threads with state delivery_unknown shows them; "
    "settle_message says what became of each."
)


class ProgressOut(Answer):
    """How far a mailbox is."""

    last_read_at: Annotated[Maybe[Second], Field(description="When all in one of its folders was read.")] = None
    last_sent_at: Annotated[Maybe[Second], Field(description="When its last mail went out.")] = None
    read: Annotated[int, Field(description="Mails, each once: recorded, unrelated and pending.")]
    recorded: Annotated[int, Field(description="Mails that concern somebody who was written to.")]
    unrelated: Annotated[int, Field(description="Mails that concern nobody; nothing of them is kept.")]
    pending: Annotated[int, Field(description="Mails not judged yet, or not fetched.")]
    to_join: Annotated[int, Field(exclude_if=is_nothing, description="Older mails that are still to be read.")] = 0
    queued: Annotated[int, Field(description="Mails that wait to be sent.")]
    unknown: Annotated[int, Field(description="Mails of which nobody knows whether they went out.")]
    advice: Annotated[Maybe[str], Field(description="What to do about mails that are unknown."), untold] = None
    sent_today: Annotated[int, Field(description="Mails that went out today, in its time zone.")]
    reading: Annotated[bool, Field(description="Whether a server reads it now.")]
    sending: Annotated[bool, Field(description="Whether a server sends from it now.")]

    @staticmethod
    def fields_of(progress: "MailboxProgress") -> dict[str, Any]:
        return {
            "last_read_at": progress.last_read_at,
            "last_sent_at": progress.last_sent_at,
            "read": progress.read,
            "recorded": progress.recorded,
            "unrelated": progress.unrelated,
            "pending": progress.pending,
            "to_join": progress.to_join,
            "sent_today": progress.sent_today,
            "queued": progress.queued,
            "unknown": progress.unknown,
            "advice": _ADVICE if progress.unknown else None,
            "reading": progress.reader is not None,
            "sending": progress.sender is not None,
        }


class MailboxReport(MailboxOut, ProgressOut):
    """A mailbox, and how far it is."""

    @classmethod
    def told(cls, mailbox: MailboxOut, progress: "MailboxProgress") -> Self:
        return cls(**vars(mailbox), **ProgressOut.fields_of(progress))


class MailboxReportAnswer(Answer):
    mailbox: MailboxReport
    next_step: Annotated[Maybe[str], Field(description="What is missing before it can be used.")] = None


class MailboxHealth(ProgressOut):
    """A mailbox in the server's health."""

    address: str
    status: MailboxStatus
    problem: Annotated[Maybe[str], Field(description="Why it is failing or a guardrail paused it, and what to do.")] = (
        None
    )
    reader: Annotated[Maybe[str], Field(description="Host and process that reads it.")] = None
    sender: Annotated[Maybe[str], Field(description="Host and process that sends from it.")] = None

    @classmethod
    def of(cls, row: "Mailbox", progress: "MailboxProgress") -> Self:
        return cls(
            address=row.address,
            status=MailboxStatus(row.status),
            problem=row.problem,
            reader=progress.reader,
            sender=progress.sender,
            **ProgressOut.fields_of(progress),
        )


class CheckOut(Answer):
    name: str
    status: CheckStatus
    detail: str
    advice: Maybe[str] = None


class CheckList(Answer):
    checks: list[CheckOut]


class MailReplayed(Answer):
    """Mails that were judged again, and of them those that are something else now."""

    replayed: int
    changed: int


class SentTest(Answer):
    sent: bool
    internet_message_id: Annotated[str, Field(description="Message-ID of the mail.")]
    outcome: Annotated[
        Maybe[str], Field(description="If it was not sent: refused, deferred (not taken now), or unknown."), untold
    ] = None
    detail: Annotated[Maybe[str], Field(description="What to do then."), untold] = None
    server_said: Annotated[Maybe[str], Field(description="Untrusted: the answer of the mail server."), untold] = None
