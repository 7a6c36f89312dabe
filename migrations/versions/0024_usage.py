"""What was handed out, by the quarter of an hour and whether or not a limit is set; and when each place was taken."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_TABLES = (("campaign_usage", ["instance_id"]), ("sender_usage", ["channel", "account"]))
_PLACES = "ix_campaign_actions_places"
_SENDERS = "ck_campaign_instances_settings_senders"
_WITH_ZONE = (
    'NOT jsonb_path_exists(settings, \'$ ? (@.senders.type() != "object" || exists(@.senders.keyvalue('
    ') ? (!(@.key == "email" || @.key == "linkedin"))) || @.senders.email.type() != "object" || exist'
    's(@.senders.email.keyvalue() ? (!(@.key == "account" || @.key == "timezone" || @.key == "daily_l'
    'imit" || @.key == "min_gap_seconds"))) || (exists(@.senders.email) && !exists(@.senders.email.ac'
    'count)) || @.senders.email.account.type() != "string" || exists(@.senders.email.account ? (!(@ l'
    'ike_regex "."))) || @.senders.email.timezone.type() != "string" || exists(@.senders.email.timezo'
    'ne ? (!(@ like_regex "."))) || @.senders.email.daily_limit.type() != "number" || @.senders.email'
    ".daily_limit < 1 || @.senders.email.daily_limit > 1000000 || @.senders.email.daily_limit != @.se"
    'nders.email.daily_limit.floor() || @.senders.email.min_gap_seconds.type() != "number" || @.sende'
    "rs.email.min_gap_seconds < 0 || @.senders.email.min_gap_seconds > 86400 || @.senders.email.min_g"
    'ap_seconds != @.senders.email.min_gap_seconds.floor() || @.senders.linkedin.type() != "object" |'
    '| exists(@.senders.linkedin.keyvalue() ? (!(@.key == "account" || @.key == "timezone" || @.key ='
    '= "daily_limit" || @.key == "min_gap_seconds"))) || (exists(@.senders.linkedin) && !exists(@.sen'
    'ders.linkedin.account)) || @.senders.linkedin.account.type() != "string" || exists(@.senders.lin'
    'kedin.account ? (!(@ like_regex "."))) || @.senders.linkedin.timezone.type() != "string" || exis'
    'ts(@.senders.linkedin.timezone ? (!(@ like_regex "."))) || @.senders.linkedin.daily_limit.type()'
    ' != "number" || @.senders.linkedin.daily_limit < 1 || @.senders.linkedin.daily_limit > 1000000 |'
    "| @.senders.linkedin.daily_limit != @.senders.linkedin.daily_limit.floor() || @.senders.linkedin"
    '.min_gap_seconds.type() != "number" || @.senders.linkedin.min_gap_seconds < 0 || @.senders.linke'
    "din.min_gap_seconds > 86400 || @.senders.linkedin.min_gap_seconds != @.senders.linkedin.min_gap_"
    "seconds.floor())')"
)
_WITHOUT_ZONE = (
    'NOT jsonb_path_exists(settings, \'$ ? (@.senders.type() != "object" || exists(@.senders.keyvalue('
    ') ? (!(@.key == "email" || @.key == "linkedin"))) || @.senders.email.type() != "object" || exist'
    's(@.senders.email.keyvalue() ? (!(@.key == "account" || @.key == "daily_limit" || @.key == "min_'
    'gap_seconds"))) || (exists(@.senders.email) && !exists(@.senders.email.account)) || @.senders.em'
    'ail.account.type() != "string" || exists(@.senders.email.account ? (!(@ like_regex "."))) || @.s'
    'enders.email.daily_limit.type() != "number" || @.senders.email.daily_limit < 1 || @.senders.emai'
    "l.daily_limit > 1000000 || @.senders.email.daily_limit != @.senders.email.daily_limit.floor() ||"
    ' @.senders.email.min_gap_seconds.type() != "number" || @.senders.email.min_gap_seconds < 0 || @.'
    "senders.email.min_gap_seconds > 86400 || @.senders.email.min_gap_seconds != @.senders.email.min_"
    'gap_seconds.floor() || @.senders.linkedin.type() != "object" || exists(@.senders.linkedin.keyval'
    'ue() ? (!(@.key == "account" || @.key == "daily_limit" || @.key == "min_gap_seconds"))) || (exis'
    "ts(@.senders.linkedin) && !exists(@.senders.linkedin.account)) || @.senders.linkedin.account.typ"
    'e() != "string" || exists(@.senders.linkedin.account ? (!(@ like_regex "."))) || @.senders.linke'
    'din.daily_limit.type() != "number" || @.senders.linkedin.daily_limit < 1 || @.senders.linkedin.d'
    "aily_limit > 1000000 || @.senders.linkedin.daily_limit != @.senders.linkedin.daily_limit.floor()"
    ' || @.senders.linkedin.min_gap_seconds.type() != "number" || @.senders.linkedin.min_gap_seconds '
    "< 0 || @.senders.linkedin.min_gap_seconds > 86400 || @.senders.linkedin.min_gap_seconds != @.sen"
    "ders.linkedin.min_gap_seconds.floor())')"
)


def upgrade() -> None:
    """Give the counts of a day to the quarter of its last, and the places of a day the moment of the claim; and let
    accounts have a zone."""
    op.drop_constraint(op.f(_SENDERS), "campaign_instances", type_="check")
    op.create_check_constraint(op.f(_SENDERS), "campaign_instances", _WITH_ZONE)
    for table, key in _TABLES:
        op.add_column(table, sa.Column("quarter", sa.DateTime(timezone=True), nullable=True))
        op.execute(sa.text(f"DELETE FROM {table} WHERE last_at IS NULL"))
        op.execute(sa.text(f"UPDATE {table} SET quarter = date_bin('15 minutes', last_at, 'epoch')"))
        for column in ("day", "updated_at", "created_at"):
            op.drop_column(table, column)
        op.alter_column(table, "quarter", nullable=False)
        op.alter_column(table, "last_at", nullable=False)
        op.alter_column(table, "used", server_default=None)
        op.drop_constraint(op.f(f"pk_{table}"), table, type_="primary")
        op.create_primary_key(op.f(f"pk_{table}"), table, [*key, "quarter"])
        op.create_check_constraint(op.f(f"ck_{table}_quarter"), table, "extract(epoch FROM quarter) % 900 = 0")
    op.drop_index(_PLACES, table_name="campaign_actions")
    op.add_column("campaign_actions", sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        sa.text(
            "UPDATE campaign_actions SET reserved_at = updated_at WHERE status = 'claimed' AND reserved_on IS NOT NULL"
        )
    )
    op.drop_column("campaign_actions", "reserved_on")
    op.create_index(
        _PLACES,
        "campaign_actions",
        ["instance_id", "reserved_at"],
        postgresql_where=sa.text("status = 'claimed' AND reserved_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Take it back: of the counts, the last day's by UTC are kept."""
    op.execute(
        sa.text(
            "UPDATE campaign_instances SET settings = settings #- '{senders,email,timezone}' "
            "#- '{senders,linkedin,timezone}' WHERE settings ? 'senders'"
        )
    )
    op.drop_constraint(op.f(_SENDERS), "campaign_instances", type_="check")
    op.create_check_constraint(op.f(_SENDERS), "campaign_instances", _WITHOUT_ZONE)
    op.drop_index(_PLACES, table_name="campaign_actions")
    op.add_column("campaign_actions", sa.Column("reserved_on", sa.Date(), nullable=True))
    op.execute(
        sa.text(
            "UPDATE campaign_actions SET reserved_on = (reserved_at AT TIME ZONE 'UTC')::date "
            "WHERE status = 'claimed' AND reserved_at IS NOT NULL"
        )
    )
    op.drop_column("campaign_actions", "reserved_at")
    op.create_index(
        _PLACES,
        "campaign_actions",
        ["instance_id", "reserved_on"],
        postgresql_where=sa.text("status = 'claimed' AND reserved_on IS NOT NULL"),
    )
    for table, key in _TABLES:
        op.drop_constraint(op.f(f"ck_{table}_quarter"), table, type_="check")
        op.drop_constraint(op.f(f"pk_{table}"), table, type_="primary")
        op.add_column(table, sa.Column("day", sa.Date(), nullable=True))
        names = ", ".join(key)
        op.execute(sa.text(f"UPDATE {table} SET day = (last_at AT TIME ZONE 'UTC')::date"))
        op.execute(
            sa.text(f"""
                DELETE FROM {table} m USING {table} o
                WHERE {" AND ".join(f"m.{name} = o.{name}" for name in key)} AND o.day > m.day
            """)
        )
        op.execute(
            sa.text(f"""
                UPDATE {table} m SET used = s.used, last_at = s.last_at
                FROM (SELECT {names}, sum(used) AS used, max(last_at) AS last_at FROM {table} GROUP BY {names}) s
                WHERE {" AND ".join(f"m.{name} = s.{name}" for name in key)}
            """)
        )
        op.execute(
            sa.text(f"""
                DELETE FROM {table} m USING {table} o
                WHERE {" AND ".join(f"m.{name} = o.{name}" for name in key)} AND o.quarter > m.quarter
            """)
        )
        op.drop_column(table, "quarter")
        for name in ("updated_at", "created_at"):
            op.add_column(
                table, sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
            )
        op.alter_column(table, "day", nullable=False)
        op.alter_column(table, "last_at", nullable=True)
        op.alter_column(table, "used", server_default="0")
        op.create_primary_key(op.f(f"pk_{table}"), table, key)
