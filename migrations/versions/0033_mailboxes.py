"""The accounts that mail is sent from and read in."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "mailboxes",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("signature", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False, server_default="active"),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("problem_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("smtp_host", sa.Text(), nullable=False),
        sa.Column("smtp_port", sa.Integer(), nullable=False),
        sa.Column("smtp_security", sa.Text(), nullable=False),
        sa.Column("smtp_username", sa.Text(), nullable=True),
        sa.Column("imap_host", sa.Text(), nullable=True),
        sa.Column("imap_port", sa.Integer(), nullable=True),
        sa.Column("imap_security", sa.Text(), nullable=True),
        sa.Column("imap_username", sa.Text(), nullable=True),
        sa.Column("settings", postgresql.JSONB(astext_type=sa.Text()), nullable=False, server_default="{}"),
        sa.Column("smtp_credential", sa.LargeBinary(), nullable=True),
        sa.Column("imap_credential", sa.LargeBinary(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.CheckConstraint(
            "address ~ '^[^@\\s]+@[^@\\s]+$' AND address = lower(address)", name=op.f("ck_mailboxes_address")
        ),
        sa.CheckConstraint("char_length(address) BETWEEN 1 AND 320", name=op.f("ck_mailboxes_address_length")),
        sa.CheckConstraint(
            "char_length(display_name) BETWEEN 1 AND 200", name=op.f("ck_mailboxes_display_name_length")
        ),
        sa.CheckConstraint(
            "display_name !~ '[\\n\\r\\v\\f\\u0085\\u2028\\u2029]'", name=op.f("ck_mailboxes_display_name_line")
        ),
        sa.CheckConstraint(
            "octet_length(imap_credential) BETWEEN 1 AND 65536", name=op.f("ck_mailboxes_imap_credential_length")
        ),
        sa.CheckConstraint("char_length(imap_host) BETWEEN 1 AND 253", name=op.f("ck_mailboxes_imap_host_length")),
        sa.CheckConstraint("imap_port BETWEEN 1 AND 65535", name=op.f("ck_mailboxes_imap_port_range")),
        sa.CheckConstraint("imap_security IN ('starttls', 'tls', 'none')", name=op.f("ck_mailboxes_imap_security")),
        sa.CheckConstraint(
            "char_length(imap_username) BETWEEN 1 AND 320", name=op.f("ck_mailboxes_imap_username_length")
        ),
        sa.CheckConstraint(
            "num_nulls(imap_host, imap_port, imap_security) IN (0, 3) AND (imap_username IS NULL OR imap_host IS NOT NULL)",
            name=op.f("ck_mailboxes_imap_whole"),
        ),
        sa.CheckConstraint("(problem IS NULL) = (problem_at IS NULL)", name=op.f("ck_mailboxes_problem_at")),
        sa.CheckConstraint("char_length(problem) BETWEEN 1 AND 1000", name=op.f("ck_mailboxes_problem_length")),
        sa.CheckConstraint(
            "(status = 'failing') = (problem IS NOT NULL)", name=op.f("ck_mailboxes_problem_when_failing")
        ),
        sa.CheckConstraint(
            "NOT jsonb_path_exists(settings, '$ ? (@.daily_limit.type() != \"number\" || @.daily_limit < 1 || @.daily_limit > 1000000 || @.daily_limit != @.daily_limit.floor())')",
            name=op.f("ck_mailboxes_settings_daily_limit"),
        ),
        sa.CheckConstraint(
            "NOT jsonb_path_exists(settings, '$ ? (@.hourly_limit.type() != \"number\" || @.hourly_limit < 1 || @.hourly_limit > 1000000 || @.hourly_limit != @.hourly_limit.floor())')",
            name=op.f("ck_mailboxes_settings_hourly_limit"),
        ),
        sa.CheckConstraint(
            'NOT jsonb_path_exists(settings, \'$ ? (exists(@.keyvalue() ? (!(@.key == "timezone" || @.key == "daily_limit" || @.key == "min_gap_seconds" || @.key == "ramp_up" || @.key == "hourly_limit" || @.key == "window"))))\')',
            name=op.f("ck_mailboxes_settings_known"),
        ),
        sa.CheckConstraint(
            "NOT jsonb_path_exists(settings, '$ ? (@.min_gap_seconds.type() != \"number\" || @.min_gap_seconds < 0 || @.min_gap_seconds > 86400 || @.min_gap_seconds != @.min_gap_seconds.floor())')",
            name=op.f("ck_mailboxes_settings_min_gap_seconds"),
        ),
        sa.CheckConstraint("jsonb_typeof(settings) = 'object'", name=op.f("ck_mailboxes_settings_object")),
        sa.CheckConstraint(
            'NOT jsonb_path_exists(settings, \'$ ? (@.ramp_up.type() != "object" || exists(@.ramp_up.keyvalue() ? (!(@.key == "start" || @.key == "increase"))) || (exists(@.ramp_up) && !exists(@.ramp_up.start)) || (exists(@.ramp_up) && !exists(@.ramp_up.increase)) || @.ramp_up.start.type() != "number" || @.ramp_up.start < 1 || @.ramp_up.start > 1000000 || @.ramp_up.start != @.ramp_up.start.floor() || @.ramp_up.increase.type() != "number" || @.ramp_up.increase < 1 || @.ramp_up.increase > 1000000 || @.ramp_up.increase != @.ramp_up.increase.floor())\')',
            name=op.f("ck_mailboxes_settings_ramp_up"),
        ),
        sa.CheckConstraint(
            'NOT jsonb_path_exists(settings, \'$ ? (@.timezone.type() != "string" || exists(@.timezone ? (!(@ like_regex "."))))\')',
            name=op.f("ck_mailboxes_settings_timezone"),
        ),
        sa.CheckConstraint(
            'NOT jsonb_path_exists(settings, \'$ ? (@.window.type() != "object" || exists(@.window.keyvalue() ? (!(@.key == "days" || @.key == "start" || @.key == "end"))) || (exists(@.window) && !exists(@.window.days)) || (exists(@.window) && !exists(@.window.start)) || (exists(@.window) && !exists(@.window.end)) || @.window.days.type() != "array" || @.window.days.size() > 7 || exists(@.window.days[*] ? (@.type() != "string" || exists(@ ? (!(@ like_regex "^(mon|tue|wed|thu|fri|sat|sun)$"))))) || @.window.start.type() != "string" || exists(@.window.start ? (!(@ like_regex "^([01][0-9]|2[0-3]):[0-5][0-9]$"))) || @.window.end.type() != "string" || exists(@.window.end ? (!(@ like_regex "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24[:]00$"))))\')',
            name=op.f("ck_mailboxes_settings_window"),
        ),
        sa.CheckConstraint("char_length(signature) BETWEEN 1 AND 5000", name=op.f("ck_mailboxes_signature_length")),
        sa.CheckConstraint(
            "octet_length(smtp_credential) BETWEEN 1 AND 65536", name=op.f("ck_mailboxes_smtp_credential_length")
        ),
        sa.CheckConstraint("char_length(smtp_host) BETWEEN 1 AND 253", name=op.f("ck_mailboxes_smtp_host_length")),
        sa.CheckConstraint("smtp_port BETWEEN 1 AND 65535", name=op.f("ck_mailboxes_smtp_port_range")),
        sa.CheckConstraint("smtp_security IN ('starttls', 'tls', 'none')", name=op.f("ck_mailboxes_smtp_security")),
        sa.CheckConstraint(
            "char_length(smtp_username) BETWEEN 1 AND 320", name=op.f("ck_mailboxes_smtp_username_length")
        ),
        sa.CheckConstraint("status IN ('active', 'paused', 'failing')", name=op.f("ck_mailboxes_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailboxes")),
    )
    op.create_index("uq_mailboxes_address", "mailboxes", ["address"], unique=True)


def downgrade() -> None:
    """Take it away."""
    op.drop_table("mailboxes")
