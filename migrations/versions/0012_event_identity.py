"""A provider's event counts once over all campaigns, orphans end, and events are found by when they happened."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_EVENTS = "campaign_events"
_UNIQUE = "uq_campaign_events_provider_event"
_WHERE = sa.text("provider_event_id IS NOT NULL")

# An event that was recorded in several campaigns stays in each, and in its counts. The first one keeps the identity;
# the others have it in their metadata.
_SET_ASIDE = """
    UPDATE campaign_events e
    SET provider_event_id = NULL,
        metadata = e.metadata || jsonb_build_object('repeated_provider_event_id', e.provider_event_id)
    FROM (
        SELECT instance_id, id,
               row_number() OVER (PARTITION BY provider, provider_event_id ORDER BY created_at, instance_id, id) AS place
        FROM campaign_events WHERE provider_event_id IS NOT NULL
    ) known
    WHERE e.instance_id = known.instance_id AND e.id = known.id AND known.place > 1
"""
_PUT_BACK = """
    UPDATE campaign_events
    SET provider_event_id = metadata ->> 'repeated_provider_event_id', metadata = metadata - 'repeated_provider_event_id'
    WHERE metadata ? 'repeated_provider_event_id'
"""


def upgrade() -> None:
    """Set repeated events aside, and make the indexes. Writers of events wait for as long as these take to build."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(_UNIQUE, table_name=_EVENTS)
    op.execute(_SET_ASIDE)
    op.create_index(
        _UNIQUE,
        _EVENTS,
        ["provider_event_id", "provider"],
        unique=True,
        postgresql_where=_WHERE,
        postgresql_nulls_not_distinct=True,
    )
    op.create_index("ix_campaign_events_occurred", _EVENTS, ["instance_id", "occurred_at", "id"])
    op.add_column("orphaned_events", sa.Column("expired_at", sa.DateTime(timezone=True), nullable=True))
    # As if each had expired after the default of 30 days.
    op.execute(
        "UPDATE orphaned_events SET expired_at = least(now(), created_at + interval '30 days') WHERE status = 'expired'"
    )
    op.create_index(
        "ix_orphaned_events_expired",
        "orphaned_events",
        [sa.text("coalesce(expired_at, created_at)")],
        postgresql_where=sa.text("status = 'expired'"),
    )


def downgrade() -> None:
    """Take them away, and give repeated events their identity back."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_orphaned_events_expired", table_name="orphaned_events")
    op.drop_column("orphaned_events", "expired_at")
    op.drop_index("ix_campaign_events_occurred", table_name=_EVENTS)
    op.drop_index(_UNIQUE, table_name=_EVENTS)
    op.execute(_PUT_BACK)
    op.create_index(
        _UNIQUE,
        _EVENTS,
        ["instance_id", "provider", "provider_event_id"],
        unique=True,
        postgresql_where=_WHERE,
        postgresql_nulls_not_distinct=True,
    )
