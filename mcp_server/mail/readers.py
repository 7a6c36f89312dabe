"""Reads all mailboxes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mcp_server.mail.mailbox_loops import MailboxLoops
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.domain.mailboxes import Service
    from db.models import Mailbox
    from db.services import Session
    from mcp_server.mail.lease_keeper import LeaseKeeper
    from mcp_server.mail.mailbox_loop import MailboxLoop
    from mcp_server.mail.unknown_mails import UnknownMails


class Readers(MailboxLoops):
    """The readers of the mailboxes that have an IMAP server. What they have fetched and not committed when they are
    stopped is fetched again next time."""

    name = "readers"
    patience = 5.0

    def __init__(self, app: App, *, looks_at_domains: bool = True) -> None:
        super().__init__(app, looks_at_domains=looks_at_domains)
        self._unknown: UnknownMails | None = None

    def _list(self, session: "Session") -> "Sequence[Mailbox]":
        from db.services.mail import mailboxes  # noqa: PLC0415  see MailboxLoops._loop

        return mailboxes.list_read(session)

    def _service(self) -> "Service":
        from db.domain.mailboxes import Service  # noqa: PLC0415  see MailboxLoops._loop

        return Service.IMAP

    def _new(self, keeper: "LeaseKeeper", row: "Mailbox") -> "MailboxLoop":
        from mcp_server.mail.reader import MailboxReader  # noqa: PLC0415  see MailboxLoops._loop
        from mcp_server.mail.unknown_mails import UnknownMails  # noqa: PLC0415  as above

        if self._unknown is None:
            self._unknown = UnknownMails(self._app)
        return MailboxReader(self._app, keeper, row.id, row.address, self._unknown)
