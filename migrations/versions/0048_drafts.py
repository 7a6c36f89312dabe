"""Drafts that a person approves, and what a message was approved as."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

_KNOWN = "ck_campaign_instances_settings_known"
_APPROVAL = "ck_campaign_instances_settings_approval"
_NAMES = (
    "timezone", "use_contact_timezone", "sending_window", "holidays", "daily_limit", "min_gap_seconds", "ramp_up",
    "senders", "mailboxes", "sent_by", "include_overdue",
)  # fmt: skip
_LATER_NAMES = ("variables", "primary_rate")
_MESSAGES = (
    ("approval", "approval IN ('none', 'first_step', 'all')"),
    ("fingerprint_length", "octet_length(fingerprint) = 32"),
    ("approved_fingerprint_length", "octet_length(approved_fingerprint) = 32"),
    (
        "approved",
        "status IS DISTINCT FROM 'sending' OR coalesce(approval = 'none' OR fingerprint = approved_fingerprint, FALSE)",
    ),
)


def _known(names: tuple[str, ...]) -> sa.TextClause:
    keys = " || ".join(f'@.key == "{name}"' for name in names)
    return sa.text(f"NOT jsonb_path_exists(settings, '$ ? (exists(@.keyvalue() ? (!({keys}))))')")


def upgrade() -> None:
    """Add the table and the columns."""
    op.create_table(
        "action_drafts",
        sa.Column("id", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("instance_id", sa.UUID(), nullable=False),
        sa.Column("enrollment_id", sa.UUID(), nullable=False),
        sa.Column("step_number", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("has_subject", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("channel IN ('email', 'linkedin')", name=op.f("ck_action_drafts_channel")),
        sa.CheckConstraint("source IN ('template', 'written')", name=op.f("ck_action_drafts_source")),
        sa.CheckConstraint(
            "status IN ('waiting', 'approved', 'rejected', 'stale')", name=op.f("ck_action_drafts_status")
        ),
        sa.CheckConstraint("step_number BETWEEN 1 AND 1000", name=op.f("ck_action_drafts_step_number_range")),
        sa.CheckConstraint("char_length(subject) BETWEEN 1 AND 998", name=op.f("ck_action_drafts_subject_length")),
        sa.CheckConstraint("char_length(body) BETWEEN 1 AND 50000", name=op.f("ck_action_drafts_body_length")),
        sa.CheckConstraint(
            "char_length(decided_by) BETWEEN 1 AND 100", name=op.f("ck_action_drafts_decided_by_length")
        ),
        sa.CheckConstraint("char_length(reason) BETWEEN 1 AND 1000", name=op.f("ck_action_drafts_reason_length")),
        sa.CheckConstraint("subject IS NULL OR channel = 'email'", name=op.f("ck_action_drafts_subject_of_email")),
        sa.CheckConstraint("NOT has_subject OR subject IS NOT NULL", name=op.f("ck_action_drafts_has_subject")),
        sa.CheckConstraint("octet_length(fingerprint) = 32", name=op.f("ck_action_drafts_fingerprint_length")),
        sa.CheckConstraint(
            "status <> 'waiting' OR decided_at IS NULL", name=op.f("ck_action_drafts_waiting_undecided")
        ),
        sa.CheckConstraint(
            "status NOT IN ('approved', 'rejected') OR decided_at IS NOT NULL", name=op.f("ck_action_drafts_decided")
        ),
        sa.CheckConstraint("decided_by IS NULL OR decided_at IS NOT NULL", name=op.f("ck_action_drafts_decided_by")),
        sa.CheckConstraint(
            "(status = 'rejected') = (reason IS NOT NULL)", name=op.f("ck_action_drafts_reason_of_rejected")
        ),
        sa.ForeignKeyConstraint(
            ["instance_id", "enrollment_id"],
            ["campaign_enrollments.instance_id", "campaign_enrollments.id"],
            name=op.f("fk_action_drafts_campaign_enrollments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action_drafts")),
    )
    op.create_index(
        "uq_action_drafts_live",
        "action_drafts",
        ["enrollment_id", "step_number"],
        unique=True,
        postgresql_where=sa.text("status IN ('waiting', 'approved')"),
    )
    op.create_index("ix_action_drafts_status", "action_drafts", ["status", "id"])
    op.create_index("ix_action_drafts_instance_id", "action_drafts", ["instance_id", "status", "id"])
    op.create_index("ix_action_drafts_enrollment_id", "action_drafts", ["enrollment_id"])
    op.add_column("messages", sa.Column("approval", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("fingerprint", sa.LargeBinary(), nullable=True))
    op.add_column("messages", sa.Column("approved_fingerprint", sa.LargeBinary(), nullable=True))
    op.execute("UPDATE messages SET approval = 'none' WHERE status = 'sending'")  # no campaign has asked yet
    for name, rule in _MESSAGES:
        op.create_check_constraint(op.f(f"ck_messages_{name}"), "messages", sa.text(rule))
    op.add_column("campaign_actions", sa.Column("is_unapproved", sa.Boolean(), server_default="false", nullable=False))
    op.drop_constraint(op.f(_KNOWN), "campaign_instances")
    op.create_check_constraint(op.f(_KNOWN), "campaign_instances", _known((*_NAMES, "approval", *_LATER_NAMES)))
    op.create_check_constraint(
        op.f(_APPROVAL),
        "campaign_instances",
        sa.text(
            'NOT jsonb_path_exists(settings, \'$ ? (@.approval.type() != "string" || '
            'exists(@.approval ? (!(@ like_regex "^(none|first_step|all)$"))))\')'
        ),
    )


def downgrade() -> None:
    """Take them away. Refused while a campaign asks for an approval, which nobody would wait for then."""
    asking = op.get_bind().scalar(
        sa.text(
            "SELECT count(*) FROM campaign_instances WHERE settings ->> 'approval' IN ('first_step', 'all') "
            "AND status IN ('draft', 'active', 'paused')"
        )
    )
    if asking:
        raise RuntimeError(
            f"{asking} campaigns ask a person before they send, which the older version does not: set their approval "
            "to none, or complete them, and go back then."
        )
    op.execute("UPDATE campaign_instances SET settings = settings - 'approval' WHERE settings ? 'approval'")
    op.drop_constraint(op.f(_APPROVAL), "campaign_instances")
    op.drop_constraint(op.f(_KNOWN), "campaign_instances")
    op.create_check_constraint(op.f(_KNOWN), "campaign_instances", _known((*_NAMES, *_LATER_NAMES)))
    op.drop_column("campaign_actions", "is_unapproved")
    for name, _ in _MESSAGES:
        op.drop_constraint(op.f(f"ck_messages_{name}"), "messages")
    for column in ("approved_fingerprint", "fingerprint", "approval"):
        op.drop_column("messages", column)
    op.drop_table("action_drafts")
