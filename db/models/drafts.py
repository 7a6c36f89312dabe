"""Drafts: the words of a step for one person, or of a reply to them, and what a person said to them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.drafts import LIVE_DRAFTS, DraftSource, DraftStatus
from db.domain.states import Channel
from db.models.base import Base, Mutable, length, of_enrollment, one_of, primary_key, within


class ActionDraft(Mutable, Base):
    """The words of one step for one person, or of a reply in a thread. fingerprint: of all that an approval is of
    (db.domain.drafts.Wording).

    has_subject: its writer gave the subject; otherwise it is that of the step. decided_by: the person who approved or
    rejected it; None where the campaign asked nobody. reason: why it was rejected.

    A reply has the id of the message that it becomes, and no step. replies_to: the message that it answers, which may
    be deleted before it. cc: who gets a copy.

    One that is old and decided has no words any more: neither a body nor what else a person has written of it.
    """

    __tablename__ = "action_drafts"
    __table_args__ = (
        one_of("channel", Channel),
        one_of("source", DraftSource),
        one_of("status", DraftStatus),
        within("step_number", 1, field_limits.STEP_NUMBER_MAX),
        length("subject", 1, field_limits.MESSAGE_SUBJECT_MAX),
        length("body", 1, field_limits.BODY_MAX),
        length("decided_by", 1, field_limits.TOKEN_NAME_MAX),
        length("reason", 1, field_limits.REJECT_REASON_MAX),
        CheckConstraint("subject IS NULL OR channel = 'email'", name="subject_of_email"),
        CheckConstraint("NOT has_subject OR subject IS NOT NULL", name="has_subject"),
        CheckConstraint(f"octet_length(fingerprint) = {field_limits.HASH_BYTES}", name="fingerprint_length"),
        CheckConstraint("status <> 'waiting' OR decided_at IS NULL", name="waiting_undecided"),
        CheckConstraint("status NOT IN ('approved', 'rejected') OR decided_at IS NOT NULL", name="decided"),
        CheckConstraint("decided_by IS NULL OR decided_at IS NOT NULL", name="decided_by"),
        CheckConstraint(
            "CASE status WHEN 'rejected' THEN reason IS NOT NULL OR body IS NULL ELSE reason IS NULL END",
            name="reason_of_rejected",
        ),
        CheckConstraint(
            "body IS NOT NULL OR (subject IS NULL AND reason IS NULL AND cc = '{}' AND status <> 'waiting')",
            name="forgotten",
        ),
        CheckConstraint("num_nonnulls(step_number, thread_id) = 1", name="step_or_thread"),
        CheckConstraint(
            "(thread_id IS NULL) = (replies_to IS NULL) "
            "AND (thread_id IS NULL OR (channel = 'email' AND source = 'written' "
            "AND (subject IS NOT NULL OR body IS NULL)))",
            name="reply",
        ),
        CheckConstraint(
            f"cardinality(cc) <= {field_limits.MESSAGE_CC_MAX} AND (cc = '{{}}' OR thread_id IS NOT NULL)", name="cc"
        ),
        of_enrollment(),
    )

    id: Mapped[UUID] = primary_key()
    campaign_id: Mapped[UUID] = mapped_column("instance_id")
    enrollment_id: Mapped[UUID]
    step_number: Mapped[int | None]
    thread_id: Mapped[UUID | None] = mapped_column(ForeignKey("threads.id", ondelete="CASCADE"))
    replies_to: Mapped[UUID | None]
    cc: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    channel: Mapped[str]
    source: Mapped[str]
    status: Mapped[str]
    subject: Mapped[str | None]
    has_subject: Mapped[bool] = mapped_column(server_default="false", default=False)
    body: Mapped[str | None]
    fingerprint: Mapped[bytes]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    reason: Mapped[str | None]


# Of a step at most one draft can go out.
Index(
    "uq_action_drafts_live",
    ActionDraft.enrollment_id,
    ActionDraft.step_number,
    unique=True,
    postgresql_where=ActionDraft.status.in_([str(status) for status in LIVE_DRAFTS]),
)
# In a thread one reply waits at most.
Index(
    "uq_action_drafts_reply",
    ActionDraft.thread_id,
    unique=True,
    postgresql_where=ActionDraft.thread_id.is_not(None) & (ActionDraft.status == "waiting"),
)
Index("ix_action_drafts_thread_id", ActionDraft.thread_id, postgresql_where=ActionDraft.thread_id.is_not(None))
Index("ix_action_drafts_cc", ActionDraft.id, postgresql_where=text("cc <> '{}'"))
# Drafts are listed by their status, in all campaigns or in one.
Index("ix_action_drafts_status", ActionDraft.status, ActionDraft.id)
Index("ix_action_drafts_instance_id", ActionDraft.campaign_id, ActionDraft.status, ActionDraft.id)
Index("ix_action_drafts_enrollment_id", ActionDraft.enrollment_id)
# Words are forgotten by their age.
Index("ix_action_drafts_words", ActionDraft.created_at, ActionDraft.id, postgresql_where=ActionDraft.body.is_not(None))
