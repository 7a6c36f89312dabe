"""Mailboxes: accounts that send and read mail, the servers they live on, and the states they pass through."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from db.domain import campaign_settings
from db.domain.sending import Sending, of_settings
from db.domain.shapes import Shape

CLAIMED_MOST: Final = 20
"""Mails that the sender of a mailbox claims at once, if its pace allows."""


class MailboxStatus(StrEnum):
    """FAILING: the server can't use it, and says why; it becomes active again by itself once a check succeeds."""

    ACTIVE = "active"
    PAUSED = "paused"
    FAILING = "failing"


class MailboxCommand(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    FAIL = "fail"
    RECOVER = "recover"


MAILBOX_TRANSITIONS: Mapping[tuple[MailboxStatus, MailboxCommand], MailboxStatus] = MappingProxyType(
    {
        (MailboxStatus.ACTIVE, MailboxCommand.PAUSE): MailboxStatus.PAUSED,
        (MailboxStatus.ACTIVE, MailboxCommand.RESUME): MailboxStatus.ACTIVE,
        (MailboxStatus.ACTIVE, MailboxCommand.FAIL): MailboxStatus.FAILING,
        (MailboxStatus.ACTIVE, MailboxCommand.RECOVER): MailboxStatus.ACTIVE,
        (MailboxStatus.PAUSED, MailboxCommand.PAUSE): MailboxStatus.PAUSED,
        (MailboxStatus.PAUSED, MailboxCommand.RESUME): MailboxStatus.ACTIVE,
        # Who paused it wants it left alone, whatever else is wrong with it.
        (MailboxStatus.PAUSED, MailboxCommand.FAIL): MailboxStatus.PAUSED,
        (MailboxStatus.PAUSED, MailboxCommand.RECOVER): MailboxStatus.PAUSED,
        (MailboxStatus.FAILING, MailboxCommand.PAUSE): MailboxStatus.PAUSED,
        (MailboxStatus.FAILING, MailboxCommand.RESUME): MailboxStatus.ACTIVE,
        (MailboxStatus.FAILING, MailboxCommand.FAIL): MailboxStatus.FAILING,
        (MailboxStatus.FAILING, MailboxCommand.RECOVER): MailboxStatus.ACTIVE,
    }
)


UNREADABLE: Final = "It can't be read. "
"""How the problem of a mailbox begins that its reader found, and that ends once it can be read again."""
UNSENDABLE: Final = "It can't send. "
"""How the problem of a mailbox begins that its sender found."""


class Security(StrEnum):
    """How a connection is protected. NONE is for servers at private addresses alone."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class Service(StrEnum):
    """What a server is for."""

    SMTP = "smtp"
    IMAP = "imap"


class LeaseRole(StrEnum):
    """What a server process does with a mailbox while it holds the lease."""

    READER = "reader"
    SENDER = "sender"


class FolderRole(StrEnum):
    """What a folder holds. ALL: a copy of every mail."""

    INBOX = "inbox"
    JUNK = "junk"
    SENT = "sent"
    ALL = "all"


class CredentialSource(StrEnum):
    """Where the credentials of a mailbox are."""

    STORED = "stored"
    VARIABLE = "variable"
    MISSING = "missing"


class CheckStatus(StrEnum):
    """What one check of a mailbox found. SKIPPED: there was nothing to check, or an earlier check failed."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """What one check of a mailbox found, and what to do where it did not succeed."""

    name: str
    status: CheckStatus
    detail: str
    advice: str | None = None


_TLS_PORTS: Final = frozenset({465, 993})


def usual_security(port: int) -> Security:
    """Returns how connections to a port are usually protected: TLS from the start on 465 and 993, and STARTTLS on all
    others, such as 25, 143 and 587."""
    return Security.TLS if port in _TLS_PORTS else Security.STARTTLS


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where a mailbox sends or is read. username: None for the mailbox's address."""

    host: str
    port: int
    security: Security
    username: str | None = None

    def user(self, address: str) -> str:
        """Returns as whom the mailbox of this address signs in."""
        return self.username or address


@dataclass(frozen=True, slots=True)
class Preset:
    """The servers of a usual host."""

    smtp: MailServer
    imap: MailServer


def _preset(smtp: str, imap: str, port: int = 465) -> Preset:
    return Preset(MailServer(smtp, port, usual_security(port)), MailServer(imap, 993, usual_security(993)))


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "google": _preset("smtp.gmail.com", "imap.gmail.com"),
        "microsoft": _preset("smtp.office365.com", "outlook.office365.com", 587),
        "fastmail": _preset("smtp.fastmail.com", "imap.fastmail.com"),
        "icloud": _preset("smtp.mail.me.com", "imap.mail.me.com", 587),
        "yahoo": _preset("smtp.mail.yahoo.com", "imap.mail.yahoo.com"),
        "zoho": _preset("smtp.zoho.com", "imap.zoho.com"),
        "gmx": _preset("mail.gmx.net", "imap.gmx.net"),
        "ionos": _preset("smtp.ionos.com", "imap.ionos.com"),
        "ovh": _preset("ssl0.ovh.net", "ssl0.ovh.net"),
        "mailbox.org": _preset("smtp.mailbox.org", "imap.mailbox.org"),
        "posteo": _preset("posteo.de", "posteo.de"),
    }
)
"""The host's name -> its servers, as the host's own help gives them."""

DAILY_LIMIT: Final = 50
MIN_GAP_SECONDS: Final = 90
PACE: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        **{name: campaign_settings.FIELDS[name] for name in ("timezone", "daily_limit", "min_gap_seconds", "ramp_up")},
        "hourly_limit": campaign_settings.COUNT,
        "window": campaign_settings.FIELDS["sending_window"],
    }
)
"""The settings of a mailbox: when and how much it sends, whatever the campaigns. As a campaign's, but for the names
`window` and `hourly_limit`."""


def sending_of(settings: Mapping[str, Any]) -> Sending:
    """Returns when and how much a mailbox with these settings sends."""
    named = {name: value for name, value in settings.items() if name != "window"}
    return of_settings({**named, **({"sending_window": settings["window"]} if "window" in settings else {})})


def with_defaults(pace: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a new mailbox: 50 mails a day, 90 seconds apart, unless others are given."""
    return {"daily_limit": DAILY_LIMIT, "min_gap_seconds": MIN_GAP_SECONDS, **pace}


_SPECIAL: Final = re.compile(r"[^A-Z0-9]", re.ASCII)


def variable_suffix(address: str) -> str:
    """Returns how the address ends the name of a variable: ANN_EXAMPLE_COM for ann@example.com. Two addresses can give
    the same."""
    return _SPECIAL.sub("_", address.upper())
