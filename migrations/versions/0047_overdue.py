"""From when to when the server has looked after the emails of a campaign, and whether it sends what is long overdue."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None

_TABLE = "campaign_instances"
_KNOWN = "ck_campaign_instances_settings_known"
_OVERDUE = "ck_campaign_instances_settings_include_overdue"
_SERVED = "ck_campaign_instances_served"
_NAMES = (
    "timezone", "use_contact_timezone", "sending_window", "holidays", "daily_limit", "min_gap_seconds", "ramp_up",
    "senders", "mailboxes", "sent_by",
)  # fmt: skip
_LATER_NAMES = ("variables", "primary_rate")


def _known(names: tuple[str, ...]) -> sa.TextClause:
    keys = " || ".join(f'@.key == "{name}"' for name in names)
    return sa.text(f"NOT jsonb_path_exists(settings, '$ ? (exists(@.keyvalue() ? (!({keys}))))')")


def upgrade() -> None:
    """Add the columns, and let settings include what is overdue."""
    op.add_column(_TABLE, sa.Column("served_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column(_TABLE, sa.Column("served_until", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(op.f(_SERVED), _TABLE, "(served_since IS NULL) = (served_until IS NULL)")
    op.drop_constraint(op.f(_KNOWN), _TABLE)
    op.create_check_constraint(op.f(_KNOWN), _TABLE, _known((*_NAMES, "include_overdue", *_LATER_NAMES)))
    op.create_check_constraint(
        op.f(_OVERDUE),
        _TABLE,
        sa.text("NOT jsonb_path_exists(settings, '$ ? (@.include_overdue.type() != \"boolean\")')"),
    )


def downgrade() -> None:
    """Take them away."""
    op.execute(
        "UPDATE campaign_instances SET settings = settings - 'include_overdue' WHERE settings ? 'include_overdue'"
    )
    op.drop_constraint(op.f(_OVERDUE), _TABLE)
    op.drop_constraint(op.f(_KNOWN), _TABLE)
    op.create_check_constraint(op.f(_KNOWN), _TABLE, _known((*_NAMES, *_LATER_NAMES)))
    op.drop_constraint(op.f(_SERVED), _TABLE)
    op.drop_column(_TABLE, "served_until")
    op.drop_column(_TABLE, "served_since")
