"""What the headers of a mail say about where it belongs, before its body is fetched."""

from typing import Final, NamedTuple

_DAEMONS: Final = frozenset({"mailer-daemon", "postmaster", "mail-daemon", "mdaemon", "bounce", "bounces"})


class Envelope(NamedTuple):
    """internet_message_id and refers_to: Message-IDs without angle brackets; those that it answers, the latest last.
    sender: an address in lower case, or nothing. is_report: a program may report on a mail of ours, in its body.
    recipients: addresses in To and Cc, in lower case. unsubscribe_token: see db.domain.mail.unsubscribe_mails.
    """

    internet_message_id: str
    refers_to: tuple[str, ...]
    sender: str
    is_report: bool
    recipients: tuple[str, ...] = ()
    unsubscribe_token: str | None = None


def is_of_a_daemon(sender: str) -> bool:
    """Returns whether an address is that of a program that returns mail."""
    local = sender.partition("@")[0]
    return local in _DAEMONS or local.startswith(("mailer-daemon", "postmaster"))
