"""What the senders of a process write, those of the same moment in shared transactions.

They send for the same campaigns, so in transactions of their own they would wait for the same rows, one after the
other.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from db.domain.errors import SalesAutomationError, StoreUnavailable
from db.services.outgoing import outcomes, queue
from db.services.outgoing.mails import NotBegun
from db.services.outgoing.queue import NextMails
from mcp_server.mail.delivery import Delivery, Outcome
from mcp_server.mail.lease_keeper import Lease
from mcp_server.process.app import App
from mcp_server.process.group_commit import GroupCommit

if TYPE_CHECKING:
    from db.services import Session
    from db.services.outgoing.mails import QueuedMail

_MOST: Final = 50


class _OfOne(Exception):
    """A refusal that concerns one mail of a group: the others are written without it."""

    def __init__(self, error: SalesAutomationError) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class _Entry(NamedTuple):
    """What is written of a mail."""

    mail: "QueuedMail"
    work: "Callable[[Session], Any]"


class Books:
    """One for the senders of a process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._claiming = threading.Lock()
        self._begun: GroupCommit[_Entry, NotBegun | None] = GroupCommit(
            partial(self._write, "begin a mail"), most=_MOST
        )
        self._recorded: GroupCommit[_Entry, None] = GroupCommit(partial(self._write, "record a mail"), most=_MOST)

    def next(self, lease: Lease, *, limit: int, include_overdue: bool) -> NextMails:
        """Claims what the mailbox sends now, up to `limit` mails. LeaseLost if another process has it."""
        claim = partial(
            queue.next_mails,
            lease=lease,
            limit=limit,
            now=self._app.clock(),
            public_url=self._app.settings.public_base,
            include_overdue=include_overdue,
        )
        with self._claiming:
            return self._app.run("claim mails", claim)

    def begin(self, lease: Lease, mail: "QueuedMail", raw: bytes) -> NotBegun | None:
        """Commits that a mail begins. Returns why it may not, if so; LeaseLost as above."""
        work = partial(queue.begin, lease=lease, mail=mail, raw=raw, now=self._app.clock())
        return _submit(self._begun, _Entry(mail, work))

    def record(self, mail: "QueuedMail", outcome: Outcome, at: datetime) -> None:
        """Commits what became of a mail."""
        retry_seconds = self._app.settings.send_retry_seconds
        work = partial(_record, mail=mail, outcome=outcome, at=at, retry_seconds=retry_seconds)
        _submit(self._recorded, _Entry(mail, work))

    def _write(self, description: str, entries: Sequence[_Entry]) -> Sequence[Any]:
        in_order = sorted(entries, key=lambda entry: (entry.mail.campaign_id, entry.mail.contact_id))

        def work(session: "Session") -> list[Any]:
            # In one order, since each locks its campaign and its person.
            done = {entry.mail.message_id: _alone(entry, session) for entry in in_order}
            return [done[entry.mail.message_id] for entry in entries]

        return self._app.run(description, work)


def _alone(entry: _Entry, session: "Session") -> object:
    try:
        return entry.work(session)
    except StoreUnavailable:
        raise
    except SalesAutomationError as error:
        raise _OfOne(error) from error


def _submit(group: GroupCommit[_Entry, Any], entry: _Entry) -> Any:  # noqa: ANN401  the answer of its work
    try:
        return group.submit(entry)
    except _OfOne as refused:
        raise refused.error from None


def _record(
    session: "Session", *, mail: "QueuedMail", outcome: Outcome, at: datetime, retry_seconds: float | None
) -> None:
    said = " ".join(filter(None, (str(outcome.code or ""), outcome.said)))
    if outcome.delivery is Delivery.SENT:
        outcomes.sent(session, mail=mail, said=said, now=at)
    elif outcome.delivery is Delivery.DEFERRED:
        outcomes.deferred(session, mail=mail, said=said, now=at, retry_seconds=retry_seconds)
    elif outcome.delivery is Delivery.UNKNOWN:
        outcomes.unknown(session, mail=mail, said=said, now=at)
    else:
        assert outcome.kind is not None, "a refusal is judged"
        assert outcome.reason is not None, "as above"
        outcomes.refused(
            session,
            mail=mail,
            code=outcome.code,
            said=said,
            kind=outcome.kind,
            reason=outcome.reason,
            now=at,
            retry_seconds=retry_seconds,
        )
