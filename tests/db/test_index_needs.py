"""Each index has somebody who needs it; it costs every write, so one that nobody needs goes."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.drafts import DraftStatus
from db.domain.events import EventType, NewEvent
from db.domain.mail.verdict import MailKind
from db.domain.mailboxes import MailServer, Security
from db.domain.metrics import GroupBy
from db.domain.sending import WEEKDAYS
from db.domain.states import Channel, EnrollmentStatus, SuppressionReason, SuppressionState, ThreadsIn
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.consent import drafts
from db.services.dispatch import claims
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.events import deliveries, events, orphans
from db.services.mail import guardrails, incoming, mailboxes, matching, pools, progress, threads
from db.services.mail.mailboxes import MailboxChange
from db.services.mail.matching import Asked
from db.services.ops import audit, idempotency
from db.services.outgoing import copies, signs
from db.services.people import suppressions
from db.services.reports import metrics, overview, typeahead
from db.services.state import conversation_rows, draft_rows, message_rows
from db.services.state.harm import Harmed
from tests.support.campaigns import NOW as START, new_scene
from tests.support.meeting import Work as InSession
from tests.support.plans import NOW, Work, claim_and_complete, find, list_events, person, plans


def before_now(some: Callable[..., object]) -> Work:
    return lambda session, _campaign, _enrollment: some(session, before=NOW, limit=10)


# Where there is one campaign, one index is as good as another.
SOME_CAMPAIGNS = text("UPDATE pg_class SET relpages = 1, reltuples = 3000 WHERE oid = 'campaign_instances'::regclass")


def of_template(session: Session, campaign_id: UUID, _enrollment: UUID) -> object:
    session.execute(SOME_CAMPAIGNS)
    template_id = campaigns.get(session, campaign_id=campaign_id).template_id
    return campaigns.list_(session, status=None, template_id=template_id, limit=50, cursor=None)


def list_templates(session: Session, _campaign: UUID, _enrollment: UUID) -> object:
    return templates.list_(session, type=None, include_archived=False, limit=50, cursor=None, with_texts=False)


def complain_and_enroll(session: Session, campaign_id: UUID, _enrollment: UUID) -> object:
    """What waits for a suppressed person stops them as soon as they are enrolled."""
    complaint = NewEvent(EventType.COMPLAINED, Channel.EMAIL, NOW, campaign_id=campaign_id, email="cid@example.com")
    events.record_events(session, events=[complaint])
    suppressions.suppress(session, email="cid@example.com", reason=SuppressionReason.MANUAL, source=None)
    return person(session, campaign_id, "cid")


def claim_again(session: Session, campaign_id: UUID, _enrollment: UUID) -> object:
    campaigns.update(session, campaign_id=campaign_id, fields={"settings": {"daily_limit": 1}}, now=NOW)
    claim = partial(claims.claim, session, campaign_id=campaign_id, channel=None, limit=1, lease_seconds=60)
    assert len(claim(now=NOW).actions) == 1
    assert len(claim(now=NOW + timedelta(hours=1)).actions) == 1
    return None


def unsubscribe_an_address(session: Session, _campaign: UUID, _enrollment: UUID) -> object:
    """Whoever had the address before is stopped as well."""
    return suppressions.suppress(session, email="ada@example.com", reason=SuppressionReason.UNSUBSCRIBED, source=None)


def claim_by_zone(session: Session, campaign_id: UUID, _enrollment: UUID) -> object:
    always = {"days": list(WEEKDAYS), "start": "00:00", "end": "24:00"}
    settings = {"use_contact_timezone": True, "sending_window": always}
    campaigns.update(session, campaign_id=campaign_id, fields={"settings": settings}, now=NOW)
    return claims.claim(session, campaign_id=campaign_id, channel=None, limit=1, lease_seconds=60, now=NOW)


def look_into_the_queue(session: Session, campaign_id: UUID, _enrollment: UUID) -> object:
    return overview.count_due(session, campaign_id=campaign_id, now=NOW)


def ended_suppressions(session: Session, _campaign: UUID, _enrollment: UUID) -> object:
    return suppressions.list_(
        session, reason=None, search=None, state=SuppressionState.EXPIRED, limit=50, cursor=None, now=NOW
    )


def next_webhooks(session: Session, _campaign: UUID, _enrollment: UUID) -> object:
    return deliveries.next_waiting(session, limit=100)


def webhooks_of_a_provider(session: Session, _campaign: UUID, _enrollment: UUID) -> object:
    return deliveries.list_(session, provider="ses", status=None, since=None, until=None, limit=50, cursor=None)


def show(session: Session, _campaign: UUID, enrollment_id: UUID) -> object:
    return enrollments.get(session, enrollment_id=enrollment_id)


def find_answered(session: Session, _campaign: UUID, _enrollment: UUID) -> object:
    return matching.find(session, asked=[Asked(["hello@example.com"])], now=NOW)


def list_threads(**filters: Any) -> Work:
    return lambda session, _campaign, _enrollment: threads.list_(session, limit=50, cursor=None, **filters)


def look_at_a_mailbox(session: Session, _campaign: UUID, _enrollment: UUID) -> object:
    change = MailboxChange(smtp=MailServer("smtp.example.com", 465, Security.TLS))
    mailbox = mailboxes.connect(session, address="ann@example.com", change=change)
    return progress.of_mailboxes(session, rows=[mailbox], now=NOW)


def list_audit(*, tool: str | None = None, actor: str | None = None) -> Work:
    return lambda session, _campaign, _enrollment: audit.list_(
        session, since=None, until=None, tool=tool, actor=actor, limit=50, cursor=None
    )


def propose(session: Session, _campaign: UUID, _enrollment: UUID) -> object:
    return typeahead.enrollments(session, typed="ada", limit=10)


def erase(session: Session, _campaign: UUID, enrollment_id: UUID) -> object:
    contact_id = enrollments.get(session, enrollment_id=enrollment_id).contact.id
    return erasure.erase(session, contact_id=contact_id, now=NOW)


def list_drafts(session: Session, campaign_id: UUID | None) -> object:
    return drafts.list_(session, campaign_id=campaign_id, status=DraftStatus.WAITING, limit=50, cursor=None)


def check_guardrails(session: Session, campaign_id: UUID, _enrollment: UUID) -> object:
    change = MailboxChange(smtp=MailServer("smtp.example.com", 465, Security.TLS))
    mailboxes.connect(session, address="ann@example.com", change=change)
    return guardrails.check(session, harmed=[Harmed(campaign_id, "ann@example.com")], now=NOW)


def report_by_mailbox(session: Session, campaign_id: UUID, _enrollment: UUID) -> object:
    since = NOW.date()
    return metrics.report(session, campaign_id=campaign_id, group_by=GroupBy.MAILBOX, since=since, until=since)


NEEDED: dict[str, Work] = {
    "ix_action_drafts_cc": erase,
    "ix_action_drafts_enrollment_id": erase,
    "ix_action_drafts_instance_id": lambda session, campaign_id, _enrollment: list_drafts(session, campaign_id),
    "ix_action_drafts_status": lambda session, _campaign, _enrollment: list_drafts(session, None),
    "ix_action_drafts_thread_id": before_now(message_rows.forget_some),
    "ix_action_drafts_words": before_now(draft_rows.forget_some),
    "ix_audit_log_actor": list_audit(actor="ada"),
    "ix_audit_log_at": before_now(audit.prune_some),
    "ix_audit_log_tool": list_audit(tool="erase_contact"),
    "ix_campaign_actions_bounced": check_guardrails,
    "ix_campaign_actions_bounced_by_sender": check_guardrails,
    "ix_campaign_actions_complained": check_guardrails,
    "ix_campaign_actions_complained_by_sender": check_guardrails,
    "ix_campaign_actions_failed": report_by_mailbox,
    "ix_campaign_actions_id": claim_and_complete,
    "ix_campaign_actions_places": claim_again,
    "ix_campaign_actions_provider_message_id": lambda session, _campaign, _enrollment: events.record_events(
        session, events=[NewEvent(EventType.OPENED, Channel.EMAIL, NOW, provider_message_id="m-1")]
    ),
    "ix_campaign_actions_sent": check_guardrails,
    "ix_campaign_actions_sent_by_sender": check_guardrails,
    "ix_campaign_enrollments_busy": lambda session, _campaign, _enrollment: conversation_rows.wake_all(session),
    "ix_campaign_enrollments_due": claim_and_complete,
    "ix_campaign_enrollments_due_after_pause": look_into_the_queue,
    "ix_campaign_enrollments_due_by_mailbox": claim_by_zone,
    "ix_campaign_enrollments_id": show,
    "ix_campaign_enrollments_mailbox_id": lambda session, _campaign, _enrollment: pools.bound(
        session, mailbox_id=uuid4()
    ),
    "ix_campaign_enrollments_not_active": lambda session, campaign_id, _enrollment: enrollments.list_(
        session, campaign_id=campaign_id, status=EnrollmentStatus.PAUSED, limit=50, cursor=None, now=NOW
    ),
    "ix_campaign_enrollments_paused_until": claim_and_complete,
    "ix_campaign_events_enrollment_occurred": list_events(of_enrollment=True),
    "ix_campaign_events_occurred": list_events(since=NOW),
    "ix_campaign_events_type_occurred": list_events(event_type=EventType.OPENED),
    "ix_campaign_instances_template_id": of_template,
    "ix_campaign_messages_provider_message_id": lambda session, _campaign, _enrollment: events.record_events(
        session, events=[NewEvent(EventType.OPENED, Channel.EMAIL, NOW, provider_message_id="m-1")]
    ),
    "ix_campaign_templates_active": list_templates,
    "ix_contact_addresses_address": unsubscribe_an_address,
    "ix_contacts_company": find(company="Acme"),
    "ix_contacts_domain": lambda session, _campaign, _enrollment: suppressions.suppress(
        session, domain="example.com", reason=SuppressionReason.MANUAL, source=None
    ),
    "ix_contacts_full_name": propose,
    "ix_contacts_last_name": propose,
    "ix_conversations_enrollment_id": lambda session, _campaign, enrollment_id: conversation_rows.free(
        session, enrollment_ids=[enrollment_id]
    ),
    "ix_idempotency_keys_created_at": before_now(idempotency.prune_some),
    "ix_messages_cc": erase,
    "ix_messages_enrollment_id": erase,
    "ix_messages_internet_message_id": find_answered,
    "ix_messages_pending": lambda session, _campaign, _enrollment: incoming.pending(
        session, mailbox_id=uuid4(), limit=10
    ),
    "ix_messages_mailbox_id": look_at_a_mailbox,
    "ix_messages_outgoing": lambda session, _campaign, _enrollment: signs.unknown_ids(
        session, mailbox_ids=[uuid4()], now=NOW
    ),
    "ix_messages_unfiled": lambda session, _campaign, _enrollment: copies.unfiled(
        session, mailbox_id=uuid4(), limit=10
    ),
    "ix_messages_thread_id": lambda session, _campaign, _enrollment: threads.messages_of(
        session, thread_id=uuid4(), limit=10
    ),
    "ix_messages_occurred_at": before_now(message_rows.forget_some),
    "ix_orphaned_events_campaign_email": complain_and_enroll,
    "ix_orphaned_events_provider_message_id": claim_and_complete,
    "ix_orphaned_events_expired": before_now(orphans.delete_some),
    "ix_orphaned_events_waiting": before_now(partial(orphans.expire_some, now=NOW)),
    "ix_suppressions_temporary": ended_suppressions,
    "ix_threads_enrollment_id": erase,
    "ix_threads_latest_contact_id": list_threads(contact_id=uuid4()),
    "ix_threads_latest_instance_id": list_threads(campaign_id=uuid4()),
    "ix_threads_latest_last_kind": list_threads(kind=MailKind.COMPLAINT),
    "ix_threads_latest_last_message_at": list_threads(),
    "ix_threads_latest_mailbox_id": list_threads(mailbox_id=uuid4()),
    "ix_threads_latest_state": list_threads(state=ThreadsIn.NEEDS_ANSWER),
    "ix_webhook_deliveries_kept": before_now(deliveries.forget_some),
    "ix_webhook_deliveries_provider_received": webhooks_of_a_provider,
    "ix_webhook_deliveries_unrecorded": next_webhooks,
}


def test_every_index_that_is_no_rule_is_needed_by_somebody(migrated: Database) -> None:
    statement = text("""
        SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relnamespace = current_schema()::regnamespace AND NOT indisunique
    """)
    with migrated.transaction("look") as session:
        assert set(session.scalars(statement)) == set(NEEDED)


@pytest.mark.parametrize("index", NEEDED)
def test_it_is_read_by_who_needs_it(database: Database, index: str) -> None:
    plan = plans(database, NEEDED[index])
    assert f" {index} " in plan, plan


ENTRIES = text("SELECT reltuples FROM pg_class WHERE oid = CAST(:index AS regclass)")


def entries(database: Database, work: InSession[object]) -> dict[str, int]:
    """How many entries the index of what is due has afterwards, and that of all enrollments."""
    database.run("work", work)
    with database.transaction("count") as session:
        session.execute(text("ANALYZE campaign_enrollments"))
        named = ("ix_campaign_enrollments_due", "pk_campaign_enrollments")
        return {name: int(session.scalar(ENTRIES, {"index": name}) or 0) for name in named}


def test_the_index_of_what_is_due_holds_nothing_that_cannot_move(database: Database) -> None:
    scene = new_scene(database, 40)

    def pause_ten(session: Session) -> None:
        for enrollment_id in scene.enrollments[:10]:
            enrollments.update(
                session, enrollment_id=enrollment_id, action=enrollments.EnrollmentAction.PAUSE, now=START
            )

    complete = partial(campaigns.complete, campaign_id=scene.campaign_id, now=START)
    before = entries(database, pause_ten)
    assert (before["ix_campaign_enrollments_due"], before["pk_campaign_enrollments"]) == (30, 40)
    after = entries(database, complete)
    assert (after["ix_campaign_enrollments_due"], after["pk_campaign_enrollments"]) == (0, 40)
