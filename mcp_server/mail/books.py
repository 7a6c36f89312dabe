"""What the senders of a process write, those of the same moment in shared transactions.

They send for the same campaigns, so in transactions of their own they would wait for the same rows, one after the
other.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from db.domain.errors import SalesAutomationError, StoreUnavailable
from db.services.outgoing import beginnings, outcomes, queue
from db.services.outgoing.beginnings import Beginning
from db.services.outgoing.mails import NotBegun
from db.services.outgoing.outcomes import Taken
from db.services.outgoing.queue import NextMails
from mcp_server.mail.delivery import Delivery, Outcome
from mcp_server.mail.lease_keeper import Lease
from mcp_server.process.app import App
from mcp_server.process.group_commit import GroupCommit

if TYPE_CHECKING:
    from db.services import Session
    from db.services.outgoing.mails import QueuedMail

_MOST: Final = 50

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _OfOne(Exception):
    """A refusal that concerns one mail of a group: the others are written without it."""

    def __init__(self, error: SalesAutomationError) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class _Told(NamedTuple):
    """What became of a mail."""

    mail: "QueuedMail"
    outcome: Outcome
    at: datetime

    @property
    def said(self) -> str:
        return " ".join(filter(None, (str(self.outcome.code or ""), self.outcome.said)))


class Books:
    """One for the senders of a process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._claiming = threading.Lock()
        self._begun = GroupCommit[Beginning, NotBegun | None](self._begin, most=_MOST)
        self._recorded = GroupCommit[_Told, None](self._record, most=_MOST)

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
        return _submit(self._begun, Beginning(lease, mail, raw))

    def record(self, mail: "QueuedMail", outcome: Outcome, at: datetime) -> None:
        """Commits what became of a mail."""
        _submit(self._recorded, _Told(mail, outcome, at))

    def _begin(self, group: Sequence[Beginning]) -> Sequence[NotBegun | None]:
        work = partial(beginnings.begin, beginnings=group, now=self._app.clock())
        return self._app.run("begin a mail", _of_one(work))

    def _record(self, group: Sequence[_Told]) -> Sequence[None]:
        work = partial(_record, told=group, now=self._app.clock(), retry_seconds=self._app.settings.send_retry_seconds)
        self._app.run("record a mail", _of_one(work))
        return [None] * len(group)


def _of_one(work: "Callable[[Session], Answer]") -> "Callable[[Session], Answer]":
    """Returns the work of a group, where a refusal concerns one mail of it."""

    def refusing(session: "Session") -> Answer:
        try:
            return work(session)
        except StoreUnavailable:
            raise
        except SalesAutomationError as error:
            raise _OfOne(error) from error

    return refusing


def _submit(group: GroupCommit[Item, Answer], item: Item) -> Answer:
    try:
        return group.submit(item)
    except _OfOne as refused:
        raise refused.error from None


def _record(session: "Session", *, told: Sequence[_Told], now: datetime, retry_seconds: float | None) -> None:
    """Those that were not sent come first, in one order, since each locks its person and its campaign."""
    for one in sorted(told, key=lambda one: (one.mail.campaign_id, one.mail.contact_id)):
        if one.outcome.delivery is not Delivery.SENT:
            _record_unsent(session, one, retry_seconds)
    taken = [Taken(one.mail, one.said, one.at) for one in told if one.outcome.delivery is Delivery.SENT]
    if taken:
        outcomes.sent(session, taken=taken, now=now)


def _record_unsent(session: "Session", told: _Told, retry_seconds: float | None) -> None:
    mail, outcome, at = told
    if outcome.delivery is Delivery.DEFERRED:
        outcomes.deferred(session, mail=mail, said=told.said, now=at, retry_seconds=retry_seconds)
    elif outcome.delivery is Delivery.UNKNOWN:
        outcomes.unknown(session, mail=mail, said=told.said, now=at)
    else:
        assert outcome.kind is not None, "a refusal is judged"
        assert outcome.reason is not None, "as above"
        outcomes.refused(
            session,
            mail=mail,
            code=outcome.code,
            said=told.said,
            kind=outcome.kind,
            reason=outcome.reason,
            now=at,
            retry_seconds=retry_seconds,
        )
