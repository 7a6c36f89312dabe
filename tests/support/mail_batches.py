"""What is done with many mails in one call: read, judged, sent, and asked about."""

from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from itertools import cycle
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.drafts import DraftStatus
from db.domain.ids import new_ids
from db.domain.mail.verdict import BounceKind, Reason
from db.domain.mailboxes import LeaseRole, MailServer, Security
from db.domain.states import ActionOutcome
from db.domain.templates import EmailStep
from db.mail import envelope_of
from db.services.campaigns import campaigns
from db.services.consent import decisions, drafts, replies
from db.services.consent.decisions import Given
from db.services.dispatch import claims, due_counts, reports
from db.services.dispatch.claims import DueAction
from db.services.dispatch.reports import Report
from db.services.events import events
from db.services.mail import (
    guardrails,
    incoming,
    leases,
    mailboxes,
    matching,
    pools,
    progress,
    reading,
    recording,
    sending_domains,
    sorting,
    threads,
)
from db.services.mail.incoming import FetchedMail, LeftMail
from db.services.mail.mailboxes import MailboxChange
from db.services.outgoing import beginnings, copies, outcomes, queue, settling, signs
from db.services.outgoing.beginnings import Beginning
from db.services.outgoing.mails import QueuedMail
from db.services.outgoing.outcomes import Taken
from db.services.state import reply_rows
from db.services.state.harm import Harmed
from db.services.texts import unsubscribe_links
from db.services.texts.unsubscribe_links import Link
from tests.support.batch_people import LATER, PUBLIC_URL, SENT, by_email, enroll_all
from tests.support.campaigns import NOW, make_campaign


def _kept(session: Session, emails: Sequence[str], pool: Mapping[str, Any]) -> None:
    """Steps for people who keep their mailbox, since their campaign names none any more."""
    campaign_id = make_campaign(session, email_steps=[EmailStep(1, "One", "The first of all")], settings=pool)
    enroll_all(session, campaign_id, by_email(emails))
    claim = partial(claims.claim, session, campaign_id=campaign_id, channel=None, limit=len(emails), lease_seconds=60)
    claim(now=NOW)
    campaigns.update(session, campaign_id=campaign_id, fields={"settings": {}}, now=NOW)
    claim(now=LATER)


def mailed(session: Session, emails: Sequence[str], tag: str) -> None:
    """Steps of a pool's mailboxes, reported together; the mails that answer them; and both judged again."""
    emails = emails[:60]  # each mail is parsed and judged, which takes longer than its statements
    smtp = MailServer("smtp.example.com", 587, Security.STARTTLS)
    connect = partial(mailboxes.connect, session, change=MailboxChange(smtp=smtp, settings={"min_gap_seconds": 0}))
    ann, ben = (connect(address=f"{name}@{tag}.example.org") for name in ("ann", "ben"))
    steps = [EmailStep(1, "One", "The first of all"), EmailStep(2, "Two", "The last of all")]
    pool = {"mailboxes": [ann.address, ben.address], "sent_by": "agent"}
    _kept(session, emails[:30], pool)
    pools.addresses(session, mailbox_id=None, named=pool["mailboxes"])
    campaign_id = make_campaign(session, email_steps=steps, settings=pool)
    enroll_all(session, campaign_id, by_email(emails))
    claim = partial(claims.claim, session, campaign_id=campaign_id, channel=None, limit=len(emails), lease_seconds=60)
    handed = list(claim(now=NOW).actions)
    told = [
        Report(due.action_id, due.lease_token, ActionOutcome.SENT, provider_message_id=f"{tag}-{due.action_id}")
        for due in handed
    ]
    reports.complete_all(session, reports=told, now=NOW)
    campaigns.update(
        session, campaign_id=campaign_id, fields={"settings": {**pool, "mailboxes": [ben.address]}}, now=NOW
    )
    later = claim(now=LATER).actions
    handed += later  # which are answered before they are reported
    raws = [_answer(due) for due in handed]
    of_nobody = [raw.replace(b".example.", b".other.").replace(b"Message-ID: <", b"Message-ID: <x") for raw in raws]
    unsure = [f"From: {due.contact.email}\r\nSubject: Hi\r\n\r\nAnother thing.\r\n".encode() for due in handed]
    matching.wanted(
        session, envelopes=[envelope_of(raw) for raw in [*raws, *_unsubscribing(session, handed)]], now=LATER
    )
    mails = [
        FetchedMail(raw, sha256(raw).digest(), "INBOX", "inbox", 1, uid, LATER)
        for uid, raw in enumerate([*raws, *of_nobody, *unsure], start=1)
    ]
    incoming.keep(session, mailbox_id=ben.id, mails=mails)
    places = [LeftMail("INBOX", 1, len(mails) + number) for number in range(1, len(mails))]
    incoming.leave(session, mailbox_id=ben.id, mails=places, now=LATER)
    recording.forget(session, message_ids=[*incoming.left(session, mailbox_id=ben.id, limit=len(places))])
    recording.record_some(session, mailbox_id=ben.id, limit=len(mails), now=LATER)
    session.execute(_AS_HUMAN, {"id": ben.id})
    sorting.replay_some(session, mailbox_id=ben.id, since=None, after=None, limit=len(mails), now=LATER)
    outcomes = cycle((ActionOutcome.FAILED, ActionOutcome.SKIPPED))
    unsent = [Report(due.action_id, due.lease_token, next(outcomes)) for due in later]
    reports.complete_all(session, reports=unsent, now=LATER)
    pools.move(session, mailbox_id=ann.id, address=ann.address, to=(ben.id, ben.address))


def _unsubscribing(session: Session, handed: Sequence[DueAction]) -> list[bytes]:
    """The headers of mails by which all of them unsubscribe."""
    key = unsubscribe_links.make_key(session)
    tokens = [unsubscribe_links.sign(key, Link(due.enrollment.id, due.step.step_number)) for due in handed]
    return [f"From: who@else.example\r\nSubject: unsubscribe {token}\r\n\r\n".encode() for token in tokens]


class _SenderLease(NamedTuple):
    mailbox_id: UUID
    token: UUID


def _begin(session: Session, lease: _SenderLease, mails: Sequence[QueuedMail]) -> None:
    given = [Beginning(lease, mail, b"bytes") for mail in mails]
    beginnings.begin(session, beginnings=given, now=NOW)


def sent(session: Session, emails: Sequence[str], tag: str) -> None:
    """Mails that this server sends: begun, answered by the mail server, and settled by signs."""
    emails = emails[:40]
    smtp = MailServer("smtp.example.com", 587, Security.STARTTLS)
    change = MailboxChange(smtp=smtp, settings={"min_gap_seconds": 0})
    mailbox = mailboxes.connect(session, address=f"eve@{tag}.example.org", change=change)
    steps = [EmailStep(1, "One", "The first of all"), EmailStep(2, "Two", "The last of all")]
    campaign_id = make_campaign(session, email_steps=steps, settings={"mailboxes": [mailbox.address]})
    enroll_all(session, campaign_id, by_email(emails))
    token = leases.take(session, mailbox_id=mailbox.id, role=LeaseRole.SENDER, holder=tag)
    assert token is not None
    lease = _SenderLease(mailbox.id, token)
    due_counts.of_mailboxes(session, rows=[mailbox], now=NOW)
    mails = queue.next_mails(session, lease=lease, limit=len(emails), now=NOW, public_url=PUBLIC_URL).mails
    _begin(session, lease, mails[:-1])
    outcomes.sent(session, taken=[Taken(mail, "250 ok", NOW) for mail in mails[8:-1]], now=NOW)
    reason = Reason("rule", "550 no")
    full = partial(outcomes.refused, session, code=552, said="552 full", kind=BounceKind.FULL, reason=reason, now=NOW)
    for mail in mails[2:4]:
        full(mail=mail)
    for mail in mails[4:6]:
        outcomes.deferred(session, mail=mail, said="450 later", now=NOW)
    for mail in mails[6:7]:
        outcomes.unknown(session, mail=mail, now=NOW)
    queue.release(session, lease=lease, mails=mails, now=NOW)
    queue.next_mails(session, lease=lease, limit=len(emails), now=NOW, public_url=PUBLIC_URL)
    queue.take_over(session, lease=lease, now=NOW)
    for mail in mails:
        settling.unsettled(session, message_id=mail.message_id)
    ids = [mail.internet_message_id for mail in mails]
    signs.unknown_ids(session, mailbox_ids=[mailbox.id], now=NOW)
    signs.found(session, internet_message_ids=ids, now=NOW)
    told = [SENT(mail.enrollment_id, step_number=1) for mail in mails]
    events.record_events(session, events=told)
    signs.settle(session, mailbox_id=mailbox.id, now=NOW)
    guardrails.check(session, harmed=[Harmed(campaign_id, mailbox.address)], now=LATER)
    guardrails.check_all(session, now=LATER)
    sending_domains.known(session, domains=[f"{number}.{tag}.example.org" for number in range(len(emails))])
    copies.unfiled(session, mailbox_id=mailbox.id, limit=len(mails))
    copies.note_filed(session, lease=lease, message_ids=[mail.message_id for mail in mails], now=NOW)


def replied(session: Session, emails: Sequence[str], tag: str) -> None:
    """People who have answered, replies to them, with and without approval, and those of which something is known."""
    emails = emails[:30]
    smtp = MailServer("smtp.example.com", 587, Security.STARTTLS)
    change = MailboxChange(smtp=smtp, settings={"min_gap_seconds": 0, "daily_limit": 100_000})
    mailbox = mailboxes.connect(session, address=f"ida@{tag}.example.org", change=change)
    steps = [EmailStep(1, "One", "The first of all")]
    settings = {"mailboxes": [mailbox.address]}
    campaign_id = make_campaign(session, email_steps=steps, settings=settings)
    enroll_all(session, campaign_id, by_email(emails))
    token = leases.take(session, mailbox_id=mailbox.id, role=LeaseRole.SENDER, holder=tag)
    assert token is not None
    lease = _SenderLease(mailbox.id, token)
    mails = queue.next_mails(session, lease=lease, limit=len(emails), now=NOW, public_url=None).mails
    _begin(session, lease, mails)
    outcomes.sent(session, taken=[Taken(mail, "250 ok", NOW) for mail in mails], now=NOW)
    _hear(session, mailbox.id, [mail.internet_message_id for mail in mails], tag)
    of_campaign = partial(threads.list_, session, campaign_id=campaign_id, limit=len(emails), cursor=None)
    first, *rest = [thread.id for thread in of_campaign().rows]
    copies_to = [f"boss@{tag}.example.net"]
    for thread_id in rest:
        replies.reply(session, thread_id=thread_id, body="Tuesday", cc=copies_to, now=NOW)
    handed = queue.next_mails(session, lease=lease, limit=len(emails), now=NOW, public_url=None).mails
    _begin(session, lease, handed)
    for mail in handed:
        outcomes.unknown(session, mail=mail, now=NOW)
    ids = [mail.internet_message_id for mail in handed]
    signs.found(session, internet_message_ids=ids[1:], now=NOW)
    _hear(session, mailbox.id, ids, f"again-{tag}")
    fields = {"settings": {**settings, "approval": "all"}}
    campaigns.update(session, campaign_id=campaign_id, fields=fields, now=NOW)
    made = replies.reply(session, thread_id=first, body="Tuesday", now=NOW).draft
    assert made is not None
    given = [Given(made.id, made.fingerprint.hex())]
    decisions.approve(session, given=given, by="ada", now=NOW, public_url=None)
    _begin(session, lease, queue.next_mails(session, lease=lease, limit=1, now=NOW, public_url=None).mails)
    reply_rows.drop_of_mailbox(session, mailbox_id=mailbox.id, why="It was removed.")


def _hear(session: Session, mailbox_id: UUID, ids: Sequence[str], tag: str) -> None:
    raws = [
        f"From: ida@example.net\r\nIn-Reply-To: <{id_}>\r\nMessage-ID: <{number}@{tag}>\r\n\r\nYes.\r\n".encode()
        for number, id_ in enumerate(ids)
    ]
    mails = [
        FetchedMail(raw, sha256(raw).digest(), "INBOX", "inbox", 1, uid, NOW) for uid, raw in enumerate(raws, start=1)
    ]
    incoming.keep(session, mailbox_id=mailbox_id, mails=mails)
    recording.record_some(session, mailbox_id=mailbox_id, limit=len(mails), now=NOW)


_AS_HUMAN = text("UPDATE messages SET kind = 'human' WHERE mailbox_id = :id AND kind IS NOT NULL")


def _answer(due: DueAction) -> bytes:
    """A mail that comes back for now, and so is counted with those before it."""
    assert due.contact.email is not None
    report = (
        f"Final-Recipient: rfc822; {due.contact.email}\r\nAction: failed\r\nStatus: 4.2.2\r\n"
        "Diagnostic-Code: smtp; 452 4.2.2 The mailbox is full\r\n"
    )
    return (
        "From: mailer-daemon@example.com\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n"
        f"Message-ID: <back-{due.action_id}@example.com>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; example.com\r\n\r\n{report}\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        f"Message-ID: <{due.text.internet_message_id}>\r\n\r\n--b--\r\n"
    ).encode()


def asked(session: Session, emails: Sequence[str], tag: str) -> None:
    """Steps that wait for a person: drafted when they are due and before, written again, approved, and let go."""
    smtp = MailServer("smtp.example.com", 587, Security.STARTTLS)
    address = f"cleo@{tag}.example.org"
    mailboxes.connect(session, address=address, change=MailboxChange(smtp=smtp, signature="Cleo"))
    steps = [EmailStep(1, "One", "The first of all"), EmailStep(2, None, "The last of all", delay_hours=24)]
    of_all = make_campaign(session, email_steps=steps, settings={"approval": "all", "mailboxes": [address]})
    of_first = make_campaign(session, email_steps=steps, settings={"approval": "first_step"})
    for campaign_id in (of_all, of_first):
        enroll_all(session, campaign_id, by_email(emails))
        claim = partial(
            claims.claim, session, campaign_id=campaign_id, channel=None, limit=len(emails), lease_seconds=60
        )
        claim(now=NOW, public_url=PUBLIC_URL)
        waiting = drafts.list_(
            session, campaign_id=campaign_id, status=DraftStatus.WAITING, limit=len(emails), cursor=None
        ).rows
        drafts.show(session, drafts=waiting)
        given = [Given(draft.id, draft.fingerprint.hex()) for draft in waiting]
        session.execute(_RENAMED, {"id": campaign_id})
        approve = partial(decisions.approve, session, by="ada", now=NOW)
        approve(given=given[: len(given) // 2], public_url=None)
        approve(given=given[len(given) // 2 :], public_url=PUBLIC_URL)
        handed = claim(now=NOW, public_url=PUBLIC_URL).actions
        told = [Report(due.action_id, due.lease_token, ActionOutcome.SENT) for due in handed]
        reports.complete_all(session, reports=told, now=NOW)
        claim(now=NOW, public_url=PUBLIC_URL)
        unasked = [SENT(id_) for id_ in session.scalars(_UNSENT, {"id": campaign_id})]
        campaigns.update(
            session, campaign_id=campaign_id, fields={"settings": {"approval": "none"}}, now=NOW, may_ask_less=True
        )
        events.record_events(session, events=unasked)
    nameless = [EmailStep(1, "One", "{{ attributes.city }}", delay_hours=24)]
    undrafted = make_campaign(session, email_steps=nameless, settings={"approval": "all"})
    enroll_all(session, undrafted, by_email(emails))
    claims.claim(session, campaign_id=undrafted, channel=None, limit=len(emails), lease_seconds=60, now=NOW)


_RENAMED = text("""
    UPDATE contacts SET first_name = 'Ada' WHERE id IN (
        SELECT contact_id FROM campaign_enrollments WHERE instance_id = :id)
""")


_UNSENT = text("SELECT id FROM campaign_enrollments WHERE instance_id = :id AND current_step = 0 ORDER BY id")


def read(session: Session, tag: str, mails: int) -> None:
    """Mails that concern nobody, and one that does after all."""
    smtp = MailServer("smtp.example.com", 587, Security.STARTTLS)
    mailbox = mailboxes.connect(session, address=f"ann@{tag}.example.com", change=MailboxChange(smtp=smtp))
    hashes = [sha256(f"{tag} {number}".encode()).digest() for number in range(mails)]
    places = [reading.UnrelatedPlace("INBOX", 1, uid, hash_) for uid, hash_ in enumerate(hashes, start=1)]
    for _ in range(2):
        reading.pass_over(session, mailbox_id=mailbox.id, places=places)
    reading.take_back(session, mailbox_id=mailbox.id, hashes=hashes)
    reading.forget_others(session, mailbox_id=mailbox.id, names=[f"Folder {number}" for number in range(mails)])
    leases.renew(session, tokens=new_ids(mails))
    progress.of_mailboxes(session, rows=[mailbox], now=NOW)
