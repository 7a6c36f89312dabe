"""Sends from all mailboxes."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from db.domain.errors import StoreUnavailable
from mcp_server.mail.mailbox_loops import MailboxLoops
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.domain.mailboxes import Service
    from db.models import Mailbox
    from db.services import Session
    from db.services.dispatch.due_counts import Due
    from mcp_server.mail.books import Books
    from mcp_server.mail.lease_keeper import LeaseKeeper
    from mcp_server.mail.mailbox_loop import MailboxLoop


def tell_of_due(app: App) -> None:
    """Writes to stderr how many emails are due for each mailbox: nobody expects a backlog of weeks to go out."""
    from db.services.dispatch import due_counts  # noqa: PLC0415  see MailboxLoops._loop
    from db.services.mail import mailboxes  # noqa: PLC0415  as above

    def work(session: "Session") -> "list[tuple[str, Due]]":
        rows = mailboxes.list_sending(session)
        counts = due_counts.of_mailboxes(session, rows=rows, now=app.clock())
        named = [(row.address, counts.get(row.id, due_counts.Due(0, 0))) for row in rows]
        return [*named, *([("people without a mailbox yet", counts[None])] if None in counts else [])]

    for name, due in app.run("count due emails", work, read_only=True):
        held = f", {due.overdue:,} of them for so long that they wait for --include-overdue" if due.overdue else ""
        with suppress(OSError, ValueError):  # stderr is closed, and nobody reads it
            sys.stderr.write(f"sales-automation-mcp: {name}: {due.emails:,} emails due{held}\n")


class Senders(MailboxLoops):
    """The senders of the mailboxes that are not paused. When they are stopped, the mails under way end; those that take
    too long are cut off.

    include_overdue: also sends what is due for so long that it waits for a person.
    """

    name = "senders"
    patience = 6.0

    def __init__(self, app: App, *, include_overdue: bool = False) -> None:
        super().__init__(app)
        self._include_overdue = include_overdue
        self._has_told = False
        self._books: Books | None = None

    def _adjust_all(self, keeper: "LeaseKeeper") -> None:
        if not self._has_told:
            self._has_told = True
            with suppress(StoreUnavailable):
                tell_of_due(self._app)
        super()._adjust_all(keeper)

    def _list(self, session: "Session") -> "Sequence[Mailbox]":
        from db.services.mail import mailboxes  # noqa: PLC0415  see MailboxLoops._loop

        return mailboxes.list_sending(session)

    def _service(self) -> "Service":
        from db.domain.mailboxes import Service  # noqa: PLC0415  see MailboxLoops._loop

        return Service.SMTP

    def _new(self, keeper: "LeaseKeeper", row: "Mailbox") -> "MailboxLoop":
        from mcp_server.mail.books import Books  # noqa: PLC0415  see MailboxLoops._loop
        from mcp_server.mail.sender import MailboxSender  # noqa: PLC0415  as above

        if self._books is None:
            self._books = Books(self._app)
        return MailboxSender(self._app, keeper, self._books, row.id, row.address, include_overdue=self._include_overdue)
