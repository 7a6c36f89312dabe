"""Replies that this server sends: claimed under the limits of their mailbox, and dropped where they may not go any
more. They go before steps, at any hour."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from db.domain import threads
from db.domain.allowance import Account, Allowances, Reservation
from db.domain.mail.message import Address
from db.domain.states import Channel
from db.domain.threads import SentMail
from db.models import Mailbox
from db.services.mail import pools
from db.services.outgoing.mails import NotBegun, QueuedMail
from db.services.state import reply_rows, usage
from db.services.state.reply_rows import QueuedReply

_WHY: Final[Mapping[NotBegun, str]] = MappingProxyType(
    {
        NotBegun.ERASED: "The person was erased.",
        NotBegun.SUPPRESSED: "The person, or somebody who would get a copy, was suppressed before it went out.",
        NotBegun.WORDS: "It reads otherwise than it was written or approved: recipient, signature or text has changed.",
        NotBegun.APPROVAL: "Approval is asked for since it was written, or somebody has written in the thread since.",
    }
)


def claim(session: Session, *, mailbox_id: UUID, limit: int, now: datetime) -> list[QueuedMail]:
    """Claims up to `limit` replies that a mailbox sends now. The caller holds its lease. A reply that is tried again
    keeps the send that was reserved for it."""
    waiting = reply_rows.next_of(session, mailbox_id=mailbox_id, limit=limit, now=now)
    # Limits are locked only where a reply can go: who claims steps afterwards locks more of them, in their own order.
    if not waiting or not _taken(session, mailbox_id, waiting, now, lock=False):
        return []
    held = reply_rows.hold(session, replies=waiting)
    taken = _taken(session, mailbox_id, held, now, lock=True) if held else []
    tokens = {reply.id: (uuid4(), reservation.at) for reply, reservation in taken}
    if not tokens:
        return []
    reply_rows.claim(session, tokens=tokens)
    mailbox = session.get_one(Mailbox, mailbox_id)
    return [_mail(reply, tokens[reply.id][0], mailbox) for reply, _ in taken]


def _taken(
    session: Session, mailbox_id: UUID, waiting: list[QueuedReply], now: datetime, *, lock: bool
) -> list[tuple[QueuedReply, Reservation]]:
    """Returns the first of these replies that the limits of the mailbox allow now, each with its reservation; counts
    them if the limits are locked."""
    known = pools.of_plans(session, plans={}, asking=mailbox_id)
    address = known.mailboxes[mailbox_id].address
    allowances = usage.allowances_for(session, plans={}, pools=known, now=now, lock=lock)
    taken = list(_take(allowances, Account(Channel.EMAIL, address), waiting))
    if lock and taken:
        usage.save(session, allowances)
        pools.note_first(session, pools=known, addresses=[address], now=now)
    return taken


def _take(
    allowances: Allowances, account: Account, waiting: list[QueuedReply]
) -> Iterator[tuple[QueuedReply, Reservation]]:
    for reply in waiting:
        before = None if reply.reserved_at is None else Reservation(reply.reserved_at, account.account)
        reservation = allowances.take_of_account(account, before)
        if not isinstance(reservation, Reservation):
            return
        yield reply, reservation


def _mail(reply: QueuedReply, token: UUID, mailbox: Mailbox) -> QueuedMail:
    name = " ".join(filter(None, (reply.first_name, reply.last_name)))
    return QueuedMail(
        message_id=reply.id,
        action_id=None,
        lease_token=token,
        enrollment_id=reply.enrollment_id,
        campaign_id=reply.campaign_id,
        contact_id=reply.contact_id,
        step_number=None,
        sender=Address(mailbox.display_name or "", mailbox.address),
        recipient=Address(name, reply.email or ""),  # without an address it can't be composed, which is told
        subject=reply.subject,
        text=reply.body or "",
        signature=mailbox.signature,
        internet_message_id=reply.internet_message_id,
        references=threads.references([SentMail(id_, None) for id_ in reply.before]),
        thread_id=reply.thread_id,
        cc=tuple(reply.cc),
        attempts=reply.attempts,
    )


def drop(session: Session, *, mail: QueuedMail, reason: NotBegun | None = None, why: str = "") -> None:
    """Lets a reply not go out, and gives its place under the limits back. why: instead of what `reason` says."""
    told = why or (_WHY[reason] if reason is not None else "")
    reply_rows.drop(session, message_id=mail.message_id, why=told)
