"""Reports and lists find their rows by an index: none of them reads a table that grows from end to end."""

import re
from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.allowance import Allowance, Allowances, DayAllowances
from db.domain.contacts import SuppressionTarget
from db.domain.events import EventType, NewEvent
from db.domain.holds import Hold, HoldReason
from db.domain.metrics import GroupBy
from db.domain.scheduling import Plan, Step
from db.domain.sending import day_of
from db.domain.states import (
    CampaignStatus,
    Channel,
    DeliveryStatus,
    EnrollmentStatus,
    SuppressionReason,
    SuppressionState,
)
from db.domain.streams import DueStream
from db.domain.webhooks import NewDelivery, Settled, StoreVerdict
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import due_queue
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.events import deliveries, events
from db.services.people import suppressions
from db.services.reports import metrics, overview
from tests.support.plans import (
    BIG,
    NOW,
    Work,
    claim_and_complete,
    find,
    list_events,
    person,
    plans,
)


def scanned_from_end_to_end(plan: str) -> list[str]:
    return [table for table in re.findall(r"Seq Scan on (\w+)", plan) if table in BIG]


def report(group_by: GroupBy, since: date | None = None) -> Work:
    return lambda session, campaign_id, _enrollment: metrics.report(
        session, campaign_id=campaign_id, group_by=group_by, since=since, until=since
    )


def list_enrollments(status: EnrollmentStatus | None) -> Work:
    return lambda session, campaign_id, _enrollment: enrollments.list_(
        session, campaign_id=campaign_id, status=status, limit=50, cursor=None, now=NOW
    )


def record(session: Session, _campaign_id: UUID, enrollment_id: UUID) -> object:
    return events.record_events(
        session, events=[NewEvent(EventType.OPENED, Channel.EMAIL, NOW, enrollment_id, provider_event_id="1")]
    )


def orphan(session: Session, campaign_id: UUID, _enrollment_id: UUID) -> object:
    lost = NewEvent(EventType.OPENED, Channel.EMAIL, NOW, provider_message_id="later", provider_event_id="1")
    events.record_events(session, events=[lost])
    return person(session, campaign_id, "ben")


def queued(*, of_campaign: bool) -> Work:
    return lambda session, campaign_id, _enrollment: overview.waiting(
        session, campaign_id=campaign_id if of_campaign else None, limit=50, cursor=None
    )


def happened(*, of_campaign: bool) -> Work:
    return lambda session, campaign_id, _enrollment: overview.latest(
        session, campaign_id=campaign_id if of_campaign else None, limit=50
    )


def list_deliveries(of: str | None = None, status: DeliveryStatus | None = None) -> Work:
    return lambda session, _campaign, _enrollment: deliveries.list_(
        session, provider=of, status=status, since=None, until=None, limit=50, cursor=None
    )


def store(session: Session, _campaign_id: UUID, _enrollment_id: UUID) -> object:
    request = NewDelivery("resend", b"{}", b"h" * 32, NOW, "d-1")
    assert deliveries.store(session, deliveries=[request]) == [StoreVerdict.STORED]
    assert deliveries.store(session, deliveries=[request]) == [StoreVerdict.KNOWN]
    return deliveries.next_waiting(session, limit=100)


def settle(session: Session, _campaign_id: UUID, _enrollment_id: UUID) -> object:
    return deliveries.settle(session, settled=[Settled(UUID(int=1), DeliveryStatus.RECORDED)], now=NOW)


def contact_of(session: Session, enrollment_id: UUID) -> UUID:
    return enrollments.get(session, enrollment_id=enrollment_id).contact.id


def erase(session: Session, _campaign_id: UUID, enrollment_id: UUID) -> object:
    record(session, _campaign_id, enrollment_id)
    return erasure.erase(session, contact_id=contact_of(session, enrollment_id), now=NOW)


METRICS_KEY = r"pk_campaign_metrics.*\n\s*Index Cond: \(\(?instance_id ="
LISTS: dict[str, tuple[Work, str]] = {
    "metrics": (report(GroupBy.TOTAL), METRICS_KEY),
    "metrics by day": (report(GroupBy.DAY, NOW.date()), METRICS_KEY),
    "status totals": (report(GroupBy.STEP), r"pk_campaign_enrollment_totals.*\n\s*Index Cond: \(instance_id ="),
    "events": (
        list_events(),
        r"x_campaign_events\w*.*\n\s*Index Cond: \(instance_id =|pk_campaign_events.*\n\s*Index Cond: \(instance_id =",
    ),
    "events of a type": (list_events(event_type=EventType.OPENED), r"ix_campaign_events_type_occurred"),
    "events of a time": (
        list_events(event_type=EventType.OPENED, since=NOW),
        # Where a table is small the index of all types does as well.
        r"ix_campaign_events_(type_)?occurred.*\n\s*Index Cond: .*occurred_at >=",
    ),
    "events of a time and any type": (
        list_events(since=NOW),
        r"ix_campaign_events_occurred.*\n\s*Index Cond: .*occurred_at >=",
    ),
    "events of an enrollment": (list_events(of_enrollment=True), r"ix_campaign_events_enrollment_occurred"),
    "enrollments": (list_enrollments(None), r"campaign_enrollments.*\n\s*Index Cond: \(instance_id ="),
    "enrollments of a status": (list_enrollments(EnrollmentStatus.ACTIVE), r"campaign_enrollments.*\n\s*Index Cond"),
    "enrollments of a person": (
        lambda session, _campaign, _enrollment: enrollments.list_(
            session, campaign_id=None, status=None, contact_id=UUID(int=1), limit=50, cursor=None
        ),
        r"uq_campaign_enrollments_contact_id\w*.*\n\s*Index Cond: \(contact_id =",
    ),
    "people behind events": (
        lambda session, campaign_id, enrollment_id: enrollments.people(
            session, campaign_id=campaign_id, enrollment_ids=[enrollment_id]
        ),
        r"campaign_enrollments.*\n\s*Index Cond",
    ),
    "one enrollment": (
        lambda session, _campaign, enrollment_id: enrollments.get(session, enrollment_id=enrollment_id),
        r"ix_campaign_enrollments_id",
    ),
    "contacts": (find(search="ada"), r"pk_contacts"),
    "a contact": (find(email="ada@example.com"), r"uq_contacts_email"),
    "contacts of a company": (find(company="Acme"), r"ix_contacts_company.*\n\s*Index Cond"),
    "campaigns": (
        lambda session, _campaign, _enrollment: campaigns.list_(
            session, status=CampaignStatus.ACTIVE, template_id=None, limit=50, cursor=None
        ),
        r"pk_campaign_instances",
    ),
    "suppressions": (
        lambda session, _campaign, _enrollment: suppressions.list_(
            session, reason=None, search=None, limit=50, cursor=None
        ),
        r"pk_suppressions",
    ),
    "suppressions that have ended": (
        lambda session, _campaign, _enrollment: suppressions.list_(
            session, reason=None, search=None, state=SuppressionState.EXPIRED, limit=50, cursor=None, now=NOW
        ),
        r"ix_suppressions_temporary",
    ),
    "who is suppressed by a hash": (
        lambda session, _campaign, enrollment_id: suppressions.of_contacts(
            session, contact_ids=[contact_of(session, enrollment_id)], now=NOW
        ),
        r"uq_suppressions_address_hash.*\n\s*Index Cond: \(address_hash = sha256",
    ),
    "what else holds a person": (
        lambda session, _campaign, _enrollment: suppressions.still_holding(
            session, target=SuppressionTarget(email="ada@example.com"), now=NOW
        ),
        r"uq_suppressions_domain",
    ),
    "a suppression": (
        lambda session, _campaign, _enrollment: suppressions.suppress(
            session, email="ada@example.com", reason=SuppressionReason.MANUAL, source=None
        ),
        r"uq_contacts_email",
    ),
    "webhook requests": (list_deliveries(), r"pk_webhook_deliveries"),
    "webhook requests of a provider": (list_deliveries("ses"), r"ix_webhook_deliveries_provider_received"),
    "webhook requests that failed": (
        list_deliveries(status=DeliveryStatus.FAILED),
        r"ix_webhook_deliveries_unrecorded.*\n\s*Index Cond: \(status = 'failed'",
    ),
    "webhook requests that wait": (store, r"ix_webhook_deliveries_unrecorded.*\n\s*Index Cond: \(status = 'waiting'"),
    "a webhook request with an id": (store, r"uq_webhook_deliveries_delivery_id"),
    "a webhook request that is done": (settle, r"pk_webhook_deliveries"),
    "the queue of a campaign": (queued(of_campaign=True), r"ix_campaign_enrollments_due.*\n\s*Index Cond"),
    "the queue of all campaigns": (queued(of_campaign=False), r"ix_campaign_enrollments_due.*\n\s*Index Cond"),
    "how many are due": (
        lambda session, _campaign, _enrollment: overview.count_due(session, campaign_id=None, now=NOW),
        r"ix_campaign_enrollments_due.*\n\s*Index Cond: .*next_action_at <=",
    ),
    "the latest events of a campaign": (
        happened(of_campaign=True),
        r"campaign_events.*\n\s*Index Cond: .*instance_id =",
    ),
    "the latest events of all": (happened(of_campaign=False), r"campaign_events.*\n\s*Index Cond: .*instance_id ="),
    "recording": (record, r"ix_campaign_enrollments_id"),
    "claiming and completing": (claim_and_complete, r"ix_campaign_actions_id"),
    "parking and enrolling": (orphan, r"ix_campaign_actions_provider_message_id"),
}


@pytest.mark.parametrize("name", LISTS)
def test_it_reads_by_an_index(database: Database, name: str) -> None:
    work, index = LISTS[name]
    plan = plans(database, work)
    assert scanned_from_end_to_end(plan) == []
    assert re.search(index, plan), plan


def test_an_erasure_reads_through_the_quarantine_and_the_webhooks_alone(database: Database) -> None:
    plan = plans(database, erase)
    # The webhooks that still have a body may be read through the index of those.
    assert {"orphaned_events"} <= set(scanned_from_end_to_end(plan)) <= {"orphaned_events", "webhook_deliveries"}
    for index in (
        "ix_campaign_events_enrollment_occurred",
        "uq_campaign_actions_enrollment_id_step_number_instance_id|pk_campaign_actions",
        "uq_campaign_enrollments_contact_id_instance_id",
        "uq_suppressions_email",
        "uq_suppressions_linkedin_url",
    ):
        assert re.search(index, plan), index


def test_a_table_without_the_index_would_be_noticed(database: Database) -> None:
    plan = plans(
        database,
        lambda session, _campaign, _enrollment: session.execute(
            text("SELECT count(*) FROM contacts WHERE title = 'x'")
        ),
    )
    assert scanned_from_end_to_end(plan) == ["contacts"]


def test_what_falls_due_next_is_read_in_order_from_an_index_of_its_own(database: Database) -> None:
    def take(session: Session, campaign_id: UUID, _enrollment: UUID) -> object:
        stream, allowances = DueStream(campaign_id, (Channel.EMAIL,)), Allowances({campaign_id: Plan(())}, NOW)
        return due_queue.front(session, streams=[stream], allowances=allowances, limit=10, now=NOW, take=True)

    plan = plans(database, take)
    # Within a campaign nothing is sorted; what stands in front of each campaign is.
    assert re.search(r"Limit [^\n]*\n *->  LockRows [^\n]*\n *->  Index Scan using ix_campaign_enrollments_due", plan)


def test_whose_lease_ran_out_is_found_by_the_place_they_keep(database: Database) -> None:
    def take(session: Session, campaign_id: UUID, _enrollment: UUID) -> object:
        full = Allowance(0, Hold(HoldReason.DAILY_LIMIT, "The limit is reached."), since=day_of(NOW, "UTC").start)
        plan = Plan((Step(1, Channel.EMAIL, 0),))
        allowances = Allowances({campaign_id: plan}, NOW, {campaign_id: DayAllowances(day_of(NOW, "UTC"), [full])})
        stream = DueStream(campaign_id, (Channel.EMAIL,))
        return due_queue.front(session, streams=[stream], allowances=allowances, limit=10, now=NOW, take=True)

    plan = plans(database, take)
    assert "ix_campaign_actions_places" in plan
    assert "ix_campaign_enrollments_due" not in plan
    assert scanned_from_end_to_end(plan) == []


def test_a_report_never_looks_at_events_or_enrollments(database: Database) -> None:
    # No counter is kept of a mailbox: that report reads the steps.
    plan = "".join(plans(database, report(group_by)) for group_by in GroupBy if group_by is not GroupBy.MAILBOX)
    assert "campaign_metrics" in plan
    assert not re.search(r"on (campaign_events|campaign_enrollments|campaign_actions)\b", plan)
