"""Replies: mails that answer a person within a thread, written for that person alone.

Where its campaign asks for any approval, a reply waits as a draft, since nobody has seen its words. Otherwise it is
queued, and the sender of the thread's mailbox sends it: see db.services.outgoing.replies.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain import threads as naming
from db.domain.addresses import normalise_email
from db.domain.drafts import UNASKED, Approval, Consent, DraftStatus, Wording
from db.domain.errors import Conflict, InvalidInput, Refused
from db.domain.field_limits import BODY_MAX, EMAIL_MAX, KEPT_CC_MAX, MESSAGE_SUBJECT_MAX
from db.domain.ids import new_id
from db.domain.mail.verdict import MailKind
from db.domain.mailboxes import LeaseRole
from db.domain.scheduling import Plan
from db.domain.sending import SentBy
from db.domain.states import Channel, MessageStatus
from db.domain.texts import is_blank
from db.mail import HEAD_BYTES, can_be_sent_to, recipients_of
from db.models import ActionDraft, Contact, Mailbox, Message, MessageBody, Thread
from db.services.campaigns import campaigns, plans
from db.services.mail import leases, matching, threads
from db.services.people import suppressions
from db.services.state import enrollment_rows, reply_rows
from db.services.state.reply_rows import NewReply

_SERVED_FOR: Final = timedelta(days=1)
"""So long after the server has sent for a campaign it is taken to send again: mail run --once may run by a clock."""
_CHANGED: Final = "reply_in_thread writes another."


class Reply(NamedTuple):
    """What became of a reply: it is queued, or waits for a person."""

    message: Message | None = None
    draft: ActionDraft | None = None


def reply(session: Session, *, thread_id: UUID, body: str, cc: Sequence[str] = (), now: datetime) -> Reply:
    """Answers the person of a thread: queues a mail to them, or drafts it where approval is asked for, in the place of
    a draft that waits in the thread. Those to whom the latest message went too get a copy, but for our own mailboxes
    and who is suppressed; so do those of `cc`, which are in normal form.

    NotFound, InvalidInput, Refused and Conflict say why not, and what to do.
    """
    thread = threads.get(session, thread_id=thread_id)
    campaign_id = thread.campaign_id
    campaigns.lock_for_command(session, campaign_id=campaign_id)
    enrollment_rows.lock_some(session, enrollment_ids=[thread.enrollment_id])
    session.refresh(thread)
    plan = plans.of_campaign(session, campaign_id=campaign_id)
    mailbox = _mailbox(session, thread, plan)
    answered = _answered(session, thread)
    if is_blank(body) or len(body) > BODY_MAX:
        raise InvalidInput(f"body: has {len(body):,} characters, and a reply has 1 to {BODY_MAX:,}.")
    contact = _recipient(session, thread, now)
    copies = _copies(session, thread, contact, answered, cc, now)
    _check_nothing_goes(session, thread)
    subject = naming.answering(thread.subject or answered.subject or "")[:MESSAGE_SUBJECT_MAX].strip()
    words = _wording(contact, mailbox, subject, body, copies)
    key = (new_id(), campaign_id, thread.enrollment_id, thread_id, mailbox.id, answered.id)
    new = NewReply(*key, words)
    if plan.sending.approval is not Approval.NONE:
        reply_rows.draft(session, reply=new)
        return Reply(draft=session.get_one(ActionDraft, new.id))
    _check_sender(session, mailbox, plan, now)
    _queue(session, new, UNASKED, now)
    return Reply(message=session.get_one(Message, new.id))


def _mailbox(session: Session, thread: Thread, plan: Plan) -> Mailbox:
    """Returns the mailbox of a thread. Refused if the server sends nothing from there."""
    if plan.problem is not None:
        raise Refused(f"The settings of this campaign can't be read: {plan.problem} update_campaign mends them.")
    if plan.sending.mailboxes and plan.sending.sent_by is SentBy.AGENT:
        raise Refused(
            "An agent sends the mails of this campaign (sent_by: agent), so the server sends no reply. Answer with "
            "what you send with, or let update_campaign set sent_by to server."
        )
    mailbox = session.get(Mailbox, thread.mailbox_id) if thread.mailbox_id is not None else None
    if mailbox is None:
        raise Refused(
            "This thread is in no mailbox of the server: an agent sent its mails, or its mailbox was removed. Answer "
            "with what you send with; connect_mailbox connects a mailbox for the threads to come."
        )
    return mailbox


def _answered(session: Session, thread: Thread) -> Message:
    id_ = reply_rows.latest_to_answer(session, thread_id=thread.id)
    if id_ is None:
        raise Refused("Nobody has written in this thread, so there is nothing to answer. draft_action writes a step.")
    return session.get_one(Message, id_)


def _recipient(session: Session, thread: Thread, now: datetime) -> Contact:
    contact = session.get_one(Contact, thread.contact_id, populate_existing=True)
    if contact.erased_at is not None:
        raise Refused("The person of this thread was erased, so nothing may go to them.")
    if contact.email is None:
        raise Refused("The person of this thread has no email address any more. upsert_contacts gives them one.")
    key = (thread.campaign_id, thread.contact_id)
    held = suppressions.of_people_in(session, people=[key], now=now).get(key)
    if held is not None:
        raise Refused(
            f"The person is {held.state} ({held.reason}), so nothing goes to them, no answer either. unsuppress says "
            "what lifts it."
        )
    return contact


def _copies(
    session: Session, thread: Thread, contact: Contact, answered: Message, asked: Sequence[str], now: datetime
) -> tuple[str, ...]:
    """Returns who gets a copy: those whom the person wrote to as well, and those that the call names."""
    wanted = [address for address in dict.fromkeys(asked) if address != contact.email]
    bad = next((address for address in wanted if not can_be_sent_to(address)), None)
    if bad is not None:
        raise InvalidInput(f"cc: {bad} can't be written to. Give addresses such as name@example.com.")
    left_out = {contact.email, *wanted, *matching.own_addresses(session)}
    kept = [address for address in _of_person(session, answered) if address not in left_out][:KEPT_CC_MAX]
    held = suppressions.of_addresses(session, campaign_id=thread.campaign_id, addresses={*wanted, *kept}, now=now)
    refused = next((address for address in wanted if address in held), None)
    if refused is not None:
        raise Refused(
            f"cc: {refused} is suppressed ({held[refused]}), so nothing goes there. Leave it out, or see unsuppress."
        )
    return (*(address for address in kept if address not in held), *wanted)


def _of_person(session: Session, answered: Message) -> Iterator[str]:
    """Returns those to whom a message went too, and who wrote it, each once and in normal form."""
    body = session.get(MessageBody, answered.id)
    kept = body.raw if body is not None else None
    raw = b"" if kept is None else zlib.decompressobj().decompress(kept, HEAD_BYTES)
    writer = [answered.sender] if answered.sender is not None and answered.kind == MailKind.HUMAN else []
    found = (normalise_email(address) for address in (*writer, *recipients_of(raw)) if "@" in address)
    return (address for address in dict.fromkeys(found) if len(address) <= EMAIL_MAX and can_be_sent_to(address))


def _check_nothing_goes(session: Session, thread: Thread) -> None:
    """Conflict if a reply of the thread is on its way."""
    other = reply_rows.unsettled(session, thread_id=thread.id)
    if other is None:
        return
    if other.status is MessageStatus.UNKNOWN:
        raise Conflict(
            f"Nobody knows whether the reply {other.message_id} of this thread went out, so another could say it "
            "twice. settle_message says whether it did."
        )
    raise Conflict(f"The reply {other.message_id} of this thread is {other.status}. get_thread shows when it is sent.")


def _check_sender(session: Session, mailbox: Mailbox, plan: Plan, now: datetime) -> None:
    """Refused if no process sends."""
    is_running = any(role is LeaseRole.SENDER for _, role in leases.holders(session))
    is_served = plan.served_until is not None and plan.served_until >= now - _SERVED_FOR
    if not (is_running or is_served):
        raise Refused(
            f"No process sends from {mailbox.address} now, so the reply would wait. Start one with serve --send, or "
            "mail run --send, and call again."
        )


def _wording(contact: Contact, mailbox: Mailbox, subject: str, body: str, cc: Iterable[str]) -> Wording:
    return Wording(contact.email, Channel.EMAIL, subject, body, mailbox.signature, mailbox.address, cc=tuple(cc))


def _queue(session: Session, new: NewReply, consent: Consent, now: datetime) -> None:
    domain = naming.message_domain(new.wording.mailbox, None)
    assert domain is not None, "a mailbox has an address"
    reply_rows.queue(session, reply=new, internet_message_id=f"{new.id}@{domain}", consent=consent, now=now)


class Ready(NamedTuple):
    """A draft of a reply that can go out as it is."""

    reply: NewReply
    approval: Approval


class NotReady(NamedTuple):
    """Why the draft of a reply can't go out as it is. is_for_good: it reads otherwise by now."""

    why: str
    is_for_good: bool = False


def ready(session: Session, *, draft: ActionDraft) -> Ready | NotReady:
    """Returns a waiting draft of a reply as it would go out now; or why it can't. The caller has locked its
    enrollment."""
    assert draft.thread_id is not None, "a reply is of a thread"
    assert draft.replies_to is not None, "a reply answers a message"
    assert draft.body is not None, "a draft that waits has words"
    thread = threads.get(session, thread_id=draft.thread_id)
    plan = plans.of_campaign(session, campaign_id=draft.campaign_id)
    try:
        mailbox = _mailbox(session, thread, plan)
        _check_nothing_goes(session, thread)
    except (Refused, Conflict) as error:
        return NotReady(str(error))
    if reply_rows.latest_to_answer(session, thread_id=thread.id) != draft.replies_to:
        return NotReady(f"A message has come in since it was drafted. {_CHANGED}", is_for_good=True)
    contact = session.get_one(Contact, thread.contact_id, populate_existing=True)
    words = _wording(contact, mailbox, draft.subject or "", draft.body, draft.cc)
    if words.fingerprint != draft.fingerprint:
        changed = "The recipient, a copy, the signature or the mailbox has changed since it was drafted."
        return NotReady(f"{changed} {_CHANGED}", is_for_good=True)
    key = (draft.id, draft.campaign_id, draft.enrollment_id, thread.id, mailbox.id, draft.replies_to)
    return Ready(NewReply(*key, words), plan.sending.approval)


def send(session: Session, *, approved: Ready, now: datetime) -> None:
    """Queues a reply that a person has approved."""
    print_ = approved.reply.wording.fingerprint
    # Whoever asks nobody by now is content with an approval.
    asked = Approval.ALL if approved.approval is Approval.NONE else approved.approval
    _queue(session, approved.reply, Consent(asked, print_, print_), now)


def check_not_sent(session: Session, *, draft: ActionDraft) -> None:
    """Takes an approved reply out of the queue. Refused if it is not there any more."""
    if draft.status != DraftStatus.APPROVED:
        return
    if not reply_rows.drop(session, message_id=draft.id, why="A person rejected it."):
        raise Refused("This reply is on its way, or was sent, so it can't be taken back. get_thread shows it.")
