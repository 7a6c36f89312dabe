"""Campaigns, their enrollments and actions."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import campaign_settings, field_limits
from db.domain.metrics import MILESTONES
from db.domain.states import (
    ActionOutcome,
    ActionStatus,
    CampaignStatus,
    Channel,
    EnrollmentStatus,
    LinkedInStepType,
    SentSource,
    StopReason,
)
from db.models.base import (
    Base,
    Mutable,
    is_object,
    json_object,
    length,
    of_campaign,
    of_enrollment,
    one_of,
    primary_key,
    within,
)


class CampaignInstance(Mutable, Base):
    __tablename__ = "campaign_instances"
    __table_args__ = (
        one_of("status", CampaignStatus),
        length("name", 1, field_limits.NAME_MAX),
        is_object("settings"),
        *(CheckConstraint(rule, name=name) for name, rule in campaign_settings.checks("settings").items()),
        is_object("provider_config"),
        length("pause_reason", 1, field_limits.PAUSE_REASON_MAX),
        CheckConstraint("pause_reason IS NULL OR status = 'paused'", name="pause_reason_when_paused"),
        CheckConstraint("status NOT IN ('active', 'paused', 'completed') OR started_at IS NOT NULL", name="started_at"),
        CheckConstraint("status <> 'draft' OR started_at IS NULL", name="draft_not_started"),
        CheckConstraint("(status = 'paused') = (paused_at IS NOT NULL)", name="paused_at"),
        CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed_at"),
        CheckConstraint("(served_since IS NULL) = (served_until IS NULL)", name="served"),
    )

    id: Mapped[UUID] = primary_key()
    template_id: Mapped[UUID] = mapped_column(ForeignKey("campaign_templates.id", ondelete="RESTRICT"), index=True)
    name: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="draft", default="draft")
    settings: Mapped[dict[str, Any]] = json_object()
    provider_config: Mapped[dict[str, Any]] = json_object()
    started_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    pause_reason: Mapped[str | None]
    # When a person let it go on after a guardrail had paused it.
    guarded_since: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    # From when to when the server has looked after its emails.
    served_since: Mapped[datetime | None]
    served_until: Mapped[datetime | None]


class CampaignEnrollment(Mutable, Base):
    __tablename__ = "campaign_enrollments"
    __table_args__ = (
        one_of("status", EnrollmentStatus),
        one_of("stop_reason", StopReason),
        within("current_step", 0, field_limits.STEP_NUMBER_MAX),
        length("a_b_variant", 1, field_limits.VARIANT_MAX),
        length("pause_reason", 1, field_limits.PAUSE_REASON_MAX),
        length("zone", 1, field_limits.TIMEZONE_MAX),
        is_object("metadata"),
        CheckConstraint(
            "(status IN ('completed', 'unsubscribed', 'bounced')) = (stop_reason IS NOT NULL)",
            name="stop_reason_when_ended",
        ),
        CheckConstraint("status <> 'active' OR next_action_at IS NOT NULL", name="active_has_next_action"),
        CheckConstraint("isfinite(next_action_at)", name="next_action_at_finite"),
        CheckConstraint("paused_until IS NULL OR status = 'paused'", name="paused_until_when_paused"),
        CheckConstraint("isfinite(paused_until)", name="paused_until_finite"),
        CheckConstraint("next_action_at >= paused_until", name="due_after_pause"),
        CheckConstraint(
            "next_action_at IS NULL OR status IN ('enrolled', 'active', 'paused')", name="no_next_action_when_ended"
        ),
        # contact_id comes first, so that the index also finds a person's enrollments in every campaign, and no index
        # but the primary key starts with instance_id. For a campaign that is newer than the statistics, the planner
        # expects one row, and would rate any such index as good as the right one.
        UniqueConstraint("contact_id", "instance_id"),
    )

    campaign_id: Mapped[UUID] = of_campaign()
    id: Mapped[UUID] = primary_key()
    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contacts.id", ondelete="RESTRICT"))
    status: Mapped[str]
    current_step: Mapped[int] = mapped_column(server_default="0", default=0)
    # When the next step falls due: the end of its delay, or of a lease. A claim checks the windows.
    next_action_at: Mapped[datetime | None]
    delay_from: Mapped[datetime | None]
    zone: Mapped[str | None]
    a_b_variant: Mapped[str | None]
    stop_reason: Mapped[str | None]
    pause_reason: Mapped[str | None]
    # When the pause ends by itself. From then on the enrollment counts as active, whether or not that is written down.
    paused_until: Mapped[datetime | None]
    unsubscribed_at: Mapped[datetime | None]
    # The latest event that named no step: an event of an earlier moment may change its step.
    inferred_until: Mapped[datetime | None]
    # The mailbox that writes to the person.
    mailbox_id: Mapped[UUID | None] = mapped_column(ForeignKey("mailboxes.id"))
    # When its next step is looked at again for a draft: soon where none could be made, and late where it has one or
    # needs none. Any change of it brings that forward.
    draft_again_at: Mapped[datetime | None]
    # When its next step was due, while that waits for another campaign of the person. Any change of it ends the note.
    busy_since: Mapped[datetime | None]
    # the declarative base uses the name `metadata`
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default="{}")


# Each half has its index, and is read up to the limit; PostgreSQL reads a union of both from end to end.
IN_QUEUE: Final = """(SELECT * FROM (
    (SELECT {columns} FROM campaign_enrollments
     WHERE status = 'active' AND next_action_at IS NOT NULL AND {condition} ORDER BY next_action_at, id LIMIT {limit})
    UNION ALL
    (SELECT {columns} FROM campaign_enrollments
     WHERE paused_until IS NOT NULL AND next_action_at IS NOT NULL AND {condition}
     ORDER BY next_action_at, id LIMIT {limit})
) halves ORDER BY next_action_at, id LIMIT {limit})"""
"""The table of the first `limit` who wait for a step, of those for whom `condition` holds, in the order of the due
queue: who is active, and whose pause ends by itself. A step is never due before its pause ends, so whose step is due
here is active. `columns` have next_action_at and id among them."""


PARTITION_MAILBOX: Final = "coalesce(mailbox_id, '00000000-0000-0000-0000-000000000000'::uuid)"
PARTITION_ZONE: Final = "coalesce(zone, '')"
"""The mailbox and the zone of an enrollment as the index of the partitions has them: nil and empty for none."""

# An enrollment is addressed by its id alone in the tools; the primary key starts with the campaign.
Index("ix_campaign_enrollments_id", CampaignEnrollment.id)
# The index of claims: what falls due next in a campaign, among the enrollments that can move. The campaign comes first,
# so that a campaign that its window or limits hold back costs the others nothing. The id comes last, so that the order
# of the due queue is total.
Index(
    "ix_campaign_enrollments_due",
    CampaignEnrollment.campaign_id,
    CampaignEnrollment.next_action_at,
    CampaignEnrollment.id,
    postgresql_where=(CampaignEnrollment.status == "active") & CampaignEnrollment.next_action_at.is_not(None),
)
# Who is not active, by status: the list of the few who are paused reads no more than these.
Index(
    "ix_campaign_enrollments_not_active",
    CampaignEnrollment.campaign_id,
    CampaignEnrollment.status,
    CampaignEnrollment.id,
    postgresql_where=CampaignEnrollment.status != "active",
)
# Who waits for another campaign of their person.
Index(
    "ix_campaign_enrollments_busy",
    CampaignEnrollment.campaign_id,
    CampaignEnrollment.id,
    postgresql_where=CampaignEnrollment.busy_since.is_not(None),
)
Index(
    "ix_campaign_enrollments_mailbox_id",
    CampaignEnrollment.mailbox_id,
    CampaignEnrollment.campaign_id,
    postgresql_where=CampaignEnrollment.mailbox_id.is_not(None),
)
# Who waits behind a pause that ends by itself, and the pauses that are over.
Index(
    "ix_campaign_enrollments_due_after_pause",
    CampaignEnrollment.campaign_id,
    CampaignEnrollment.next_action_at,
    CampaignEnrollment.id,
    postgresql_where=CampaignEnrollment.paused_until.is_not(None),
)
Index(
    "ix_campaign_enrollments_paused_until",
    CampaignEnrollment.paused_until,
    postgresql_where=CampaignEnrollment.paused_until.is_not(None),
)
# The same for campaigns that name mailboxes, and for those whose window opens in each person's own zone: the next
# enrollments of each mailbox in each zone. It holds nobody's NULL, since PostgreSQL sorts what IS NULL once more.
Index(
    "ix_campaign_enrollments_due_by_mailbox",
    CampaignEnrollment.campaign_id,
    text(PARTITION_MAILBOX),
    text(PARTITION_ZONE),
    CampaignEnrollment.next_action_at,
    CampaignEnrollment.id,
    postgresql_where=(CampaignEnrollment.status == "active") & CampaignEnrollment.next_action_at.is_not(None),
)


class CampaignAction(Mutable, Base):
    __tablename__ = "campaign_actions"
    __table_args__ = (
        one_of("status", ActionStatus),
        one_of("channel", Channel),
        one_of("linkedin_type", LinkedInStepType),
        CheckConstraint("linkedin_type IS NULL OR channel = 'linkedin'", name="linkedin_type_of_channel"),
        within("step_number", 1, field_limits.STEP_NUMBER_MAX),
        length("a_b_variant", 1, field_limits.VARIANT_MAX),
        length("provider", 1, field_limits.PROVIDER_MAX),
        length("provider_message_id", 1, field_limits.PROVIDER_ID_MAX),
        length("sender", 1, field_limits.SENDER_MAX),
        length("sent_to", 3, field_limits.EMAIL_MAX),
        CheckConstraint("(status = 'sent') = (sent_at IS NOT NULL)", name="sent_at"),
        one_of("sent_source", SentSource),
        one_of("reported", ActionOutcome),
        CheckConstraint("sent_source IS NULL OR sent_at IS NOT NULL", name="sent_source_of_sent"),
        CheckConstraint("delivery_told_at IS NULL OR delivered_at IS NOT NULL", name="delivery_told_was_delivered"),
        CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name="lease"),
        CheckConstraint("opened_at IS NULL OR delivered_at IS NOT NULL", name="opened_was_delivered"),
        CheckConstraint("delivered_at IS NULL OR sent_at IS NOT NULL", name="delivered_was_sent"),
        CheckConstraint("open_count >= 0 AND click_count >= 0", name="counts"),
        of_enrollment(),
        UniqueConstraint("enrollment_id", "step_number", "instance_id"),
        # Opens and clicks update rows; free room on the page lets these updates leave the indexes alone (HOT).
        {"postgresql_with": {"fillfactor": "85"}},
    )

    campaign_id: Mapped[UUID] = mapped_column("instance_id", primary_key=True)
    id: Mapped[UUID] = primary_key()
    enrollment_id: Mapped[UUID]
    step_number: Mapped[int]
    channel: Mapped[str]
    a_b_variant: Mapped[str | None]
    status: Mapped[str]
    lease_token: Mapped[UUID | None]
    lease_until: Mapped[datetime | None]
    # When it was first handed out.
    claimed_at: Mapped[datetime | None]
    provider: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    error: Mapped[str | None]
    # What the holder of the last lease reported, independent of events.
    reported: Mapped[str | None]
    sender: Mapped[str | None]
    sent_to: Mapped[str | None]
    reserved_at: Mapped[datetime | None]
    linkedin_type: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    sent_source: Mapped[str | None]
    delivery_told_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]
    clicked_at: Mapped[datetime | None]
    replied_at: Mapped[datetime | None]
    bounced_at: Mapped[datetime | None]
    hard_bounced_at: Mapped[datetime | None]
    unsubscribed_at: Mapped[datetime | None]
    complained_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    open_count: Mapped[int] = mapped_column(server_default="0", default=0)
    click_count: Mapped[int] = mapped_column(server_default="0", default=0)
    # Others sent it, though the campaign asked for an approval that nobody gave.
    is_unapproved: Mapped[bool] = mapped_column(server_default="false", default=False)


# Reports name an action only by its id.
Index("ix_campaign_actions_id", CampaignAction.id)
# A step whose lease ran out keeps its reservation under the limits of the day. This index finds it when the limits
# allow no other.
Index(
    "ix_campaign_actions_places",
    CampaignAction.campaign_id,
    CampaignAction.reserved_at,
    postgresql_where=(CampaignAction.status == "claimed") & CampaignAction.reserved_at.is_not(None),
)
# It finds an action by the provider's message id alone, without its campaign.
Index(
    "ix_campaign_actions_provider_message_id",
    CampaignAction.provider_message_id,
    postgresql_where=CampaignAction.provider_message_id.is_not(None),
)

# What the guardrails count, of a campaign and of a mailbox. Few mails come back, so only the first two are large.
for _name, _moment in (("sent", "sent_at"), ("bounced", "bounced_at"), ("complained", "complained_at")):
    _happened = getattr(CampaignAction, _moment)
    _is_email = (CampaignAction.channel == "email") & _happened.is_not(None)
    Index(f"ix_campaign_actions_{_name}", CampaignAction.campaign_id, _happened, postgresql_where=_is_email)
    Index(
        f"ix_campaign_actions_{_name}_by_sender",
        CampaignAction.sender,
        _happened,
        postgresql_where=_is_email & CampaignAction.sender.is_not(None),
    )

# Emails that failed and were never sent, which the report by mailbox counts too.
Index(
    "ix_campaign_actions_failed",
    CampaignAction.campaign_id,
    CampaignAction.failed_at,
    postgresql_where=(CampaignAction.channel == "email")
    & CampaignAction.sent_at.is_(None)
    & CampaignAction.failed_at.is_not(None),
)

# The columns of the milestones, in the order of MILESTONES.
MILESTONE_COLUMNS: tuple[str, ...] = tuple(f"{milestone}_at" for milestone in MILESTONES)
