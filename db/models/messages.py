"""Messages to people. The words of a message are in a table of their own, so that lists of messages stay small."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.drafts import Approval
from db.domain.mail.verdict import BounceKind, Finding, MailKind
from db.domain.states import Channel, Interest, MessageDirection, MessageStatus, ThreadState
from db.models.base import Base, Mutable, length, of_enrollment, one_of, primary_key

_FINDINGS = ", ".join(f"'{finding}'" for finding in Finding)


class Thread(Mutable, Base):
    """Mails of one enrollment that answer one another. Its id is that of the message that began it.

    last_kind: of the latest message that came in. messages: how many there are, of those that were sent or came in.
    """

    __tablename__ = "threads"
    __table_args__ = (
        one_of("state", ThreadState),
        one_of("last_kind", MailKind),
        length("subject", 1, field_limits.MESSAGE_SUBJECT_MAX),
        CheckConstraint("messages >= 0", name="messages"),
        of_enrollment(),
    )

    id: Mapped[UUID] = primary_key()
    campaign_id: Mapped[UUID] = mapped_column("instance_id")
    enrollment_id: Mapped[UUID]
    contact_id: Mapped[UUID]
    mailbox_id: Mapped[UUID | None]
    subject: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="waiting", default="waiting")
    last_message_at: Mapped[datetime]
    last_kind: Mapped[str | None]
    messages: Mapped[int] = mapped_column(server_default="0", default=0)


Index("ix_threads_enrollment_id", Thread.enrollment_id)
# Threads are listed by their latest message: all, or those of a state, a campaign, a person, a mailbox
# or a kind.
Index("ix_threads_latest_last_message_at", Thread.last_message_at, Thread.id)
Index("ix_threads_latest_state", Thread.state, Thread.last_message_at, Thread.id)
Index("ix_threads_latest_instance_id", Thread.campaign_id, Thread.last_message_at, Thread.id)
Index("ix_threads_latest_contact_id", Thread.contact_id, Thread.last_message_at, Thread.id)
Index("ix_threads_latest_mailbox_id", Thread.mailbox_id, Thread.last_message_at, Thread.id)
# Most threads have no answer.
Index(
    "ix_threads_latest_last_kind",
    Thread.last_kind,
    Thread.last_message_at,
    Thread.id,
    postgresql_where=Thread.last_kind.is_not(None),
)


class Message(Mutable, Base):
    """A message to or from a person. A message that an agent sends belongs to a step, and has no status; it holds the
    text that was handed out last.

    A message that came in belongs to a mailbox: it is pending until it is judged. rule and evidence: of the verdict.
    is_guess: it was matched by the address of its sender alone. sorted_at: when a person or an agent said what it is.
    hash: SHA-256 of its bytes as they came, or as they are sent.

    A mail that this server sends has a status of db.domain.states.MESSAGE_TRANSITIONS. attempts: how often it was tried
    in vain, since first_tried_at. sending_at: when it began last. came_back: whether a mail came in that refers to it
    before anybody knew that it was sent. answer: what the server said last, in one line,
    untrusted, or why it did not go out. bounce and rule: why it was refused. filed_at: when its copy in Sent was there.

    A reply belongs to no step. replies_to: the message that it answers, which may be deleted before it. cc: who gets a
    copy. claim_token: of its latest attempt. reserved_at: when a send under the limits was reserved for it.
    """

    __tablename__ = "messages"
    __table_args__ = (
        one_of("direction", MessageDirection),
        one_of("channel", Channel),
        length("internet_message_id", 1, field_limits.INTERNET_MESSAGE_ID_MAX),
        length("subject", 1, field_limits.MESSAGE_SUBJECT_MAX),
        CheckConstraint("mailbox_id IS NOT NULL OR action_id IS NOT NULL", name="mailbox_or_action"),
        CheckConstraint("action_id IS NULL OR enrollment_id IS NOT NULL", name="action_of_enrollment"),
        CheckConstraint("(enrollment_id IS NULL) = (instance_id IS NULL)", name="enrollment"),
        one_of("status", MessageStatus),
        one_of("kind", MailKind),
        one_of("bounce", BounceKind),
        one_of("interest", Interest),
        CheckConstraint(
            "direction <> 'in' OR (status IS NOT NULL AND status IN ('pending', 'recorded'))", name="incoming_status"
        ),
        CheckConstraint(
            "status IN ('pending', 'recorded') OR status IS NULL OR (direction = 'out' AND channel = 'email' "
            "AND mailbox_id IS NOT NULL AND internet_message_id IS NOT NULL)",
            name="outgoing_status",
        ),
        CheckConstraint(
            "status NOT IN ('sending', 'sent', 'unknown') OR (hash IS NOT NULL AND sending_at IS NOT NULL)",
            name="begun",
        ),
        CheckConstraint("next_attempt_at IS NULL OR status IS NOT DISTINCT FROM 'queued'", name="next_attempt_at"),
        CheckConstraint("attempts >= 0 AND (attempts = 0 OR first_tried_at IS NOT NULL)", name="attempts"),
        CheckConstraint("filed_at IS NULL OR status IS NOT DISTINCT FROM 'sent'", name="filed_at"),
        CheckConstraint("status IS DISTINCT FROM 'refused' OR bounce IS NOT NULL", name="refused_bounce"),
        length("answer", 1, field_limits.MAIL_ANSWER_MAX),
        CheckConstraint("(status IS NOT DISTINCT FROM 'recorded') = (kind IS NOT NULL)", name="recorded_kind"),
        CheckConstraint(
            "rule IS NULL OR kind IS NOT NULL OR status IS NOT DISTINCT FROM 'refused'", name="rule_of_kind"
        ),
        CheckConstraint(f"findings <@ ARRAY[{_FINDINGS}]", name="findings"),
        CheckConstraint("num_nulls(folder, uidvalidity, uid) IN (0, 3)", name="place"),
        CheckConstraint(f"octet_length(hash) = {field_limits.HASH_BYTES}", name="hash_length"),
        one_of("approval", Approval),
        CheckConstraint(f"octet_length(fingerprint) = {field_limits.HASH_BYTES}", name="fingerprint_length"),
        CheckConstraint(
            f"octet_length(approved_fingerprint) = {field_limits.HASH_BYTES}", name="approved_fingerprint_length"
        ),
        # No mail is begun that nobody approved, unless its campaign asks for no approval of it.
        CheckConstraint(
            "status IS DISTINCT FROM 'sending' "
            "OR coalesce(approval = 'none' OR fingerprint = approved_fingerprint, FALSE)",
            name="approved",
        ),
        CheckConstraint(
            "replies_to IS NULL OR (direction = 'out' AND action_id IS NULL AND thread_id IS NOT NULL "
            "AND coalesce(status NOT IN ('pending', 'recorded'), FALSE))",
            name="reply",
        ),
        CheckConstraint(
            "status IS NULL OR status IN ('pending', 'recorded') OR num_nonnulls(action_id, replies_to) = 1",
            name="step_or_reply",
        ),
        CheckConstraint(
            f"cardinality(cc) <= {field_limits.MESSAGE_CC_MAX} AND (cc = '{{}}' OR replies_to IS NOT NULL)", name="cc"
        ),
        CheckConstraint("num_nonnulls(claim_token, reserved_at) = 0 OR replies_to IS NOT NULL", name="claim_of_reply"),
        length("rule", 1, field_limits.MAIL_RULE_MAX),
        length("evidence", 1, field_limits.MAIL_EVIDENCE_MAX),
        length("sender", 1, field_limits.EMAIL_MAX),
        length("sender_name", 1, field_limits.NAME_MAX),
        length("folder", 1, field_limits.MAIL_FOLDER_MAX),
        of_enrollment(),
    )

    id: Mapped[UUID] = primary_key()
    direction: Mapped[str]
    channel: Mapped[str]
    mailbox_id: Mapped[UUID | None]
    campaign_id: Mapped[UUID | None] = mapped_column("instance_id")
    enrollment_id: Mapped[UUID | None]
    action_id: Mapped[UUID | None]
    # Of a mail that an agent sends, what was handed out, until it tells what it really used.
    internet_message_id: Mapped[str | None]
    subject: Mapped[str | None]
    new_thread: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    # When it was handed out last or came in, by the clock of that server; `created_at` is by that of the database.
    occurred_at: Mapped[datetime]
    # What its campaign asked of this step when it was handed out, of which words, and which words a person approved.
    approval: Mapped[str | None]
    fingerprint: Mapped[bytes | None]
    approved_fingerprint: Mapped[bytes | None]
    thread_id: Mapped[UUID | None] = mapped_column(ForeignKey("threads.id", ondelete="CASCADE"))
    status: Mapped[str | None]
    kind: Mapped[str | None]
    bounce: Mapped[str | None]
    rule: Mapped[str | None]
    evidence: Mapped[str | None]
    rules_version: Mapped[int | None]
    findings: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    return_on: Mapped[date | None]
    is_guess: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    sorted_at: Mapped[datetime | None]
    interest: Mapped[str | None]
    sender: Mapped[str | None]
    sender_name: Mapped[str | None]
    # What its Date header says.
    sent_at: Mapped[datetime | None]
    folder: Mapped[str | None]
    uidvalidity: Mapped[int | None] = mapped_column(BigInteger)
    uid: Mapped[int | None] = mapped_column(BigInteger)
    hash: Mapped[bytes | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    first_tried_at: Mapped[datetime | None]
    next_attempt_at: Mapped[datetime | None]
    sending_at: Mapped[datetime | None]
    came_back: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    answer: Mapped[str | None]
    filed_at: Mapped[datetime | None]
    replies_to: Mapped[UUID | None]
    cc: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    claim_token: Mapped[UUID | None]
    reserved_at: Mapped[datetime | None]


# A step has one message, however often the step is handed out.
Index("uq_messages_action_id", Message.action_id, unique=True, postgresql_where=Message.direction == "out")
# A mail is kept once, in whatever folders it lies. One that uses the id of another, from another sender or of another
# date, is another mail.
Index(
    "uq_messages_internet_message_id",
    Message.mailbox_id,
    Message.internet_message_id,
    Message.direction,
    Message.sender,
    Message.sent_at,
    unique=True,
    postgresql_where=Message.mailbox_id.is_not(None),
    postgresql_nulls_not_distinct=True,
)
# When a mailbox sent, and what it received.
Index(
    "ix_messages_mailbox_id",
    Message.mailbox_id,
    Message.direction,
    Message.occurred_at,
    postgresql_where=Message.mailbox_id.is_not(None),
)
Index("ix_messages_internet_message_id", Message.internet_message_id)
Index("ix_messages_thread_id", Message.thread_id, Message.occurred_at)
Index("ix_messages_pending", Message.mailbox_id, Message.id, postgresql_where=Message.status == "pending")
# What a mailbox has still to send, or does not know of.
Index(
    "ix_messages_outgoing",
    Message.mailbox_id,
    Message.status,
    Message.id,
    postgresql_where=Message.status.in_(("queued", "sending", "unknown")),
)
# A thread has one reply at most that is not settled. What a mailbox has still to send of them is read here too.
Index(
    "uq_messages_reply",
    Message.mailbox_id,
    Message.thread_id,
    unique=True,
    postgresql_where=Message.replies_to.is_not(None) & Message.status.in_(("queued", "sending", "unknown")),
)
# Whoever is erased is taken out of the copies of others.
Index("ix_messages_cc", Message.id, postgresql_where=text("cc <> '{}'"))
# What was sent, and has no copy in Sent yet.
Index(
    "ix_messages_unfiled",
    Message.mailbox_id,
    Message.id,
    postgresql_where=(Message.status == "sent") & Message.filed_at.is_(None),
)
Index("ix_messages_enrollment_id", Message.enrollment_id)
Index("ix_messages_occurred_at", Message.occurred_at)


class MessageBody(Base):
    """The words of a message. If an agent sends it, they are the text that was handed out.

    Of a message that came in, body is what the person wrote, without quotes and signature. raw: the whole mail as it
    came or as it is sent, compressed by zlib.
    """

    __tablename__ = "message_bodies"

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[str | None]
    raw: Mapped[bytes | None]
