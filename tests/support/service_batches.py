"""Everything that the services do for many people in one call, as one run of calls, for any number of people."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.access import AuditEntry, AuditOutcome, Scope
from db.domain.addresses import PROFILE_PREFIX
from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget
from db.domain.events import EventType, NewEvent
from db.domain.ids import new_id, new_ids
from db.domain.states import ActionOutcome, Channel, EnrollmentStatus, LinkedInStepType, SuppressionReason
from db.domain.templates import EmailStep, LinkedInStep
from db.domain.webhooks import NewDelivery, Normalised, StoredDelivery
from db.domain.workspace import Colleagues
from db.postgres.json import rows_parameter
from db.services import secrets
from db.services.campaigns import campaigns, positions, templates, zones
from db.services.dispatch import actions, claims, explain, reports
from db.services.dispatch.reports import Report
from db.services.enrollments import enrollments, overlaps
from db.services.erasure import erasure
from db.services.events import deliveries, events, orphans, withdrawal
from db.services.ops import audit, idempotency, settings, tokens
from db.services.people import (
    absences,
    contacts,
    exclusions,
    opt_outs,
    role_addresses,
    spellings,
    suppression_lists,
    suppressions,
)
from db.services.state import conversation_rows, message_rows, pauses
from tests.support import condition_batches, mail_batches
from tests.support.batch_people import LATER, PUBLIC_URL, SENT, by_email, enroll_all, person
from tests.support.campaigns import NOW, make_campaign


def everything(session: Session, *, people: int, tag: str) -> None:
    """Each call that takes many, with `people` of them. `tag` makes them others than those of another run."""
    emails = [f"{tag}-{number}@{tag}.example.com" for number in range(people)]
    secrets.make(session, name=secrets.SecretName.ERASURE)  # so that hashes are looked for as well
    campaign_id = _recorded(session, emails, tag)
    _placed_anew(session, emails)
    _handed_out(session, emails, tag)
    _talked_to(session, emails)
    _answered(session, emails, tag)
    _started(session, emails)
    _written_down(session, emails, tag)
    _respelled(session, emails, tag)
    mail_batches.read(session, tag, people)
    mail_batches.sent(session, emails, tag)
    mail_batches.replied(session, emails, tag)
    condition_batches.asked(session, emails)
    _stopped(session, emails, tag, campaign_id)


def _campaign(session: Session, *, is_started: bool = True, **settings: Any) -> UUID:
    steps = [
        EmailStep(1, "One", "The first of all", a_b_variant="A"),
        EmailStep(1, "Uno", "The first of all", a_b_variant="B", delay_hours=0 if is_started else 1),
        EmailStep(3, "Three", "The last of all", delay_hours=48),
    ]
    visits = [LinkedInStep(2, LinkedInStepType.PROFILE_VISIT, None, delay_hours=24)]
    return make_campaign(
        session,
        email_steps=steps,
        linkedin_steps=visits,
        settings={"use_contact_timezone": True, "timezone": "UTC", **settings},
        start_at=NOW if is_started else None,
    )


def _recorded(session: Session, emails: Sequence[str], tag: str) -> UUID:
    """People who are enrolled after events about them came in, and events that find them in each way there is."""
    campaign_id = _campaign(session)
    early = [
        SENT(campaign_id=campaign_id, email=email, step_number=1, provider="mail", provider_event_id=f"{email}-early")
        for email in emails
    ]
    # These wait for the message ids that the sends reveal.
    opened = partial(NewEvent, EventType.OPENED, Channel.EMAIL, NOW, provider="mail")
    late = [opened(provider_message_id=f"{email}-1", provider_event_id=f"{email}-opened") for email in emails]
    events.record_events(session, events=[*early, *late])
    half = len(emails) // 2
    suppressions.suppress_person(session, email=emails[0], reason=SuppressionReason.UNSUBSCRIBED, source="manual")
    enroll_all(session, campaign_id, by_email(emails[:half]))
    answers = enroll_all(session, campaign_id, by_email(emails))
    enroll_all(session, campaign_id, [ContactRef(answer.contact_id, ContactFields()) for answer in answers])
    contacts.find_or_create(
        session, people={n: person(email, title="Ms") for n, email in enumerate(emails)}, overwrite=True
    )
    ids = [answer.enrollment_id for answer in answers if answer.enrollment_id]
    events.record_events(session, events=[SENT(id_, step_number=3) for id_ in ids])
    known = list(zip(emails, ids, strict=False))
    for name in ("1", "2"):
        message = [(f"{email}-{name}", id_) for email, id_ in known]
        sent = [SENT(id_, step_number=1, provider_message_id=id_of, provider="mail") for id_of, id_ in message]
        events.record_events(session, events=sent)
    clicked = partial(NewEvent, EventType.CLICKED, Channel.EMAIL, NOW, provider="mail")
    events.record_events(session, events=[clicked(provider_message_id=f"{email}-1") for email in emails])
    delivered = partial(NewEvent, EventType.DELIVERED, Channel.EMAIL, NOW, campaign_id=campaign_id)
    events.record_events(session, events=[delivered(email=email) for email in emails])
    orphans.match_some(session, after=UUID(int=0), limit=len(emails))
    return campaign_id


def _placed_anew(session: Session, emails: Sequence[str]) -> None:
    """Opens that are taken for those of the first step, until a later one is said to have been sent before them."""
    campaign_id = _campaign(session)
    answers = enroll_all(session, campaign_id, by_email(emails))
    explain.campaign(session, campaign_id=campaign_id, now=NOW)
    ids = [answer.enrollment_id for answer in answers if answer.enrollment_id]
    opened = partial(NewEvent, EventType.OPENED, Channel.EMAIL, NOW + timedelta(hours=2))
    events.record_events(session, events=[opened(id_) for id_ in ids])
    sent = partial(NewEvent, EventType.SENT, Channel.EMAIL, NOW + timedelta(hours=1))
    events.record_events(session, events=[sent(id_, step_number=3) for id_ in ids])


def _handed_out(session: Session, emails: Sequence[str], tag: str) -> None:
    """Claims under limits, and claims of what was claimed and not reported."""
    welcome = len(emails) - 1  # the first is suppressed
    senders = {"email": {"account": f"{tag}@example.com", "daily_limit": welcome}}
    campaign_id = _campaign(session, daily_limit=welcome, senders=senders)
    enroll_all(session, campaign_id, by_email(emails))
    claim = partial(
        claims.claim, session, campaign_id=campaign_id, channel=None, lease_seconds=60, public_url=PUBLIC_URL
    )
    claimed = claim(limit=len(emails), now=NOW).actions
    explain.campaign(session, campaign_id=campaign_id, now=NOW)
    explain.campaign(session, campaign_id=campaign_id, now=LATER)
    claim(limit=1, now=NOW)
    for due in claim(limit=len(emails), now=LATER).actions[:2]:
        actions.complete(
            session,
            action_id=due.action_id,
            lease_token=due.lease_token,
            outcome=ActionOutcome.SKIPPED,
            provider=None,
            provider_message_id=None,
            error=None,
            now=LATER,
        )
    explain.enrollment(session, enrollment_id=claimed[-1].enrollment.id, now=LATER)
    free = _campaign(session, use_contact_timezone=False)
    enroll_all(session, free, by_email(emails))
    explain.campaign(session, campaign_id=free, now=NOW)
    claims.claim(session, campaign_id=free, channel=Channel.EMAIL, limit=len(emails), lease_seconds=60, now=NOW)
    _take_the_first_step_away(session, free)
    _followed_up(session, emails)
    mail_batches.mailed(session, emails, tag)
    mail_batches.asked(session, emails, tag)


def _talked_to(session: Session, emails: Sequence[str]) -> None:
    """People of two campaigns, of which one has them, gives some of them back, and ends."""
    one, other = (make_campaign(session, email_steps=[EmailStep(1, "One", "The first of all")]) for _ in range(2))
    for campaign_id in (one, other):
        enroll_all(session, campaign_id, by_email(emails))
    claim = partial(claims.claim, session, channel=None, limit=len(emails), lease_seconds=60)
    handed = claim(campaign_id=one, now=NOW).actions
    claim(campaign_id=other, now=NOW)
    skipped = [Report(due.action_id, due.lease_token, ActionOutcome.SKIPPED) for due in handed]
    reports.complete_all(session, reports=skipped[::2], now=NOW)
    claim(campaign_id=other, now=NOW)
    conversation_rows.wake_all(session)
    claim(campaign_id=other, now=NOW)
    campaigns.complete(session, campaign_id=one, now=NOW)


def _answered(session: Session, emails: Sequence[str], tag: str) -> None:
    """Answers that hold colleagues, and are taken back."""
    settings.update(session, colleagues=Colleagues.HOLD)
    campaign_id = make_campaign(session, email_steps=[EmailStep(1, "One", "The first of all")])
    answers = enroll_all(session, campaign_id, by_email(emails))
    replied = partial(NewEvent, EventType.REPLIED, Channel.EMAIL, NOW, provider=tag)
    ids = [answer.enrollment_id for answer in answers if answer.enrollment_id]
    events.record_events(session, events=[replied(enrollment_id=id_, provider_event_id=str(id_)) for id_ in ids[::2]])
    withdrawal.withdraw(session, provider=tag, provider_event_ids=[str(id_) for id_ in ids[:1]], now=NOW)
    settings.update(session, colleagues=Colleagues.NOTHING)


def _followed_up(session: Session, emails: Sequence[str]) -> None:
    """Mails that answer the first one."""
    steps = [EmailStep(1, "One", "The first of all"), EmailStep(2, None, "The last of all")]
    campaign_id = make_campaign(session, email_steps=steps)
    enroll_all(session, campaign_id, by_email(emails))
    claim = partial(claims.claim, session, campaign_id=campaign_id, channel=None, limit=len(emails), lease_seconds=60)
    handed = claim(now=NOW).actions
    events.record_events(session, events=[SENT(due.enrollment.id, step_number=1) for due in handed])
    again = claim(now=LATER).actions
    message_rows.of_actions(session, action_ids=[due.action_id for due in again])


def _take_the_first_step_away(session: Session, campaign_id: UUID) -> None:
    """From those who wait for it: they wait for the next one then."""
    template_id = campaigns.get(session, campaign_id=campaign_id).template_id
    gone = [EmailStep(1, "One", "The first of all", a_b_variant=name, is_active=False) for name in ("A", "B")]
    before = templates.lock_steps(session, template_id=template_id)
    templates.update(session, template_id=template_id, fields={}, email_steps=gone, linkedin_steps=[])
    visit = [LinkedInStep(2, LinkedInStepType.PROFILE_VISIT, None, delay_hours=30)]
    templates.update(session, template_id=template_id, fields={}, email_steps=[], linkedin_steps=visit)
    positions.affected(session, template_id=template_id, before=before)


# As a person does, one by one.
_COMPLETED = text("""
    UPDATE campaign_enrollments SET status = 'completed', stop_reason = 'manual', next_action_at = NULL
    WHERE instance_id = :id
""")


_PAUSED = text("""
    UPDATE campaign_enrollments SET status = 'paused', paused_until = :until WHERE instance_id = :id
""")


def _started(session: Session, emails: Sequence[str]) -> None:
    """A campaign that begins with its people in it, and ends with them."""
    campaign_id = _campaign(session, is_started=False)
    enroll_all(session, campaign_id, by_email(emails))
    # As those of a template that had no variants when they were enrolled.
    session.execute(
        text("UPDATE campaign_enrollments SET a_b_variant = NULL WHERE instance_id = :id"), {"id": campaign_id}
    )
    session.execute(_PAUSED, {"id": campaign_id, "until": NOW})
    campaigns.start(session, campaign_id=campaign_id, now=NOW)
    pauses.end_some(session, before=LATER, limit=len(emails))
    away = enrollments.list_(
        session, campaign_id=campaign_id, status=EnrollmentStatus.ACTIVE, limit=1, cursor=None, now=NOW
    )
    for row in away.rows:
        absences.begin(session, contact_id=row.contact.id, began_at=NOW, until=None, now=NOW)
        absences.end(session, contact_id=row.contact.id, now=NOW)
    session.execute(_COMPLETED, {"id": campaign_id})
    refs = dict(enumerate(by_email(emails)))
    enrollments.enroll(session, campaign_id=campaign_id, people=refs, start_at=None, reopens=True, now=LATER)
    found = overlaps.find(session, people=refs, campaign_id=None)
    overlaps.find(
        session, people={0: ContactRef(found[0].contact_id, ContactFields())} if found else refs, campaign_id=None
    )
    overlaps.how_many(session, contact_ids=[row.contact_id for row in found], campaign_id=new_id())
    role_addresses.how_many(session, contact_ids=[row.contact_id for row in found])
    contacts.emails_of(session, contact_ids=[row.contact_id for row in found])
    campaigns.complete(session, campaign_id=campaign_id, now=NOW)


def _nothing(_: StoredDelivery) -> Normalised:
    return Normalised()


def _written_down(session: Session, emails: Sequence[str], tag: str) -> None:
    """What is kept beside campaigns: webhook requests, the audit log, uses of tokens, answers."""
    coded = b64encode(emails[-1].encode()).decode()  # of whom is erased
    bodies = [f"{email} {coded}".encode() for email in emails]
    given = [NewDelivery("resend", body, sha256(body).digest(), NOW, delivery_id=body.decode()) for body in bodies]
    deliveries.store(session, deliveries=given)
    deliveries.store(session, deliveries=given)
    waiting = deliveries.next_waiting(session, limit=len(given))
    deliveries.record(session, deliveries=waiting, normalise=_nothing, now=NOW)
    entry = partial(AuditEntry, NOW, "ada", "create_campaign", None, None, {}, is_cut=False, outcome=AuditOutcome.OK)
    audit.write(session, entries=[entry() for _ in emails])
    token, _ = tokens.create(session, name=tag, scopes=[Scope.READ], expires_at=None)
    tokens.note_use(session, used={token.id: NOW, **{new_id(): NOW for _ in emails}})
    for email in emails[:2]:
        idempotency.keep_done(session, key=email, tool="t", request_hash="", response={"email": email})


_WRITTEN = text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(id uuid, email text, url text)
    )
    INSERT INTO contacts (id, email, linkedin_url) SELECT id, email, url FROM given
""")


def _respelled(session: Session, emails: Sequence[str], tag: str) -> None:
    """People whose profiles, and every other one's email too, stand in another spelling; some share them."""
    profiles = [f"https://www.linkedin.com/in/{number}-{tag}" for number in range(len(emails))]
    odd = [
        {"email": f"odd-{email}" if number % 2 else f"odd-{number}@xn--bcher-kva.{tag}.example.com", "url": f"{url}."}
        for number, (email, url) in enumerate(zip(emails, profiles, strict=True))
    ]
    written = [*odd, *({"url": url} for url in profiles[::2])]
    ids = new_ids(len(written))
    rows = [{"id": id_, **each} for id_, each in zip(ids, written, strict=True)]
    session.execute(_WRITTEN, rows_parameter(rows))
    spellings.start_of(session, turn=1, limit=len(emails))
    spellings.mend_some(session, start=min(ids), limit=len(ids))


def _stopped(session: Session, emails: Sequence[str], tag: str, campaign_id: UUID) -> None:
    """People who want no more mail, and people who are erased."""
    half = len(emails) // 2
    bounced = partial(NewEvent, EventType.BOUNCED, Channel.EMAIL, NOW, metadata={"bounce_type": "soft"})
    events.record_events(session, events=[bounced(provider_message_id=f"{email}-1", email=email) for email in emails])
    unsubscribed = partial(NewEvent, EventType.UNSUBSCRIBED, Channel.EMAIL, NOW, campaign_id=campaign_id)
    events.record_events(session, events=[unsubscribed(email=email) for email in emails[:half]])
    # Their wish goes with them to the profile that they have now, and the one that they had is kept.
    moved: Mapping[int, ContactFields] = {
        number: ContactFields(email, person(f"new-{email}").linkedin_url) for number, email in enumerate(emails)
    }
    found = contacts.find_or_create(session, people=moved, overwrite=True).values()
    people = [verdict.contact_id for verdict in found if verdict.contact_id]
    opt_outs.consents_of(session, contact_ids=people)
    opt_outs.working_since(session, addresses=emails)
    zones.of_people(session, contact_ids=people)
    suppressions.suppress(session, domain=f"{tag}.example.com", reason=SuppressionReason.MANUAL, source="manual")
    targets = [
        *(SuppressionTarget(email=f"not-{email}") for email in emails),
        *(SuppressionTarget(domain=f"{number}.{tag}.example.com") for number in range(len(emails))),
        *(SuppressionTarget(linkedin_url=f"{PROFILE_PREFIX}{tag}-{number}") for number in range(len(emails))),
    ]
    wishes = dict.fromkeys(targets, SuppressionReason.UNSUBSCRIBED)
    suppression_lists.suppress_all(session, reasons=wishes, source="manual")
    of_one = partial(exclusions.exclude_all, session, campaign_id=campaign_id, source=None)
    of_one(targets=targets, reason=SuppressionReason.MANUAL)
    of_one(targets=targets, reason=SuppressionReason.UNSUBSCRIBED)
    suppressions.of_people_in(session, people=[(campaign_id, contact_id) for contact_id in people], now=NOW)
    erasure.erase(session, target=SuppressionTarget(email=emails[-1]), now=NOW)
    erasure.erased_among(session, addresses=emails)
    orphans.expire_some(session, before=NOW - timedelta(days=30), now=NOW, limit=len(emails))
