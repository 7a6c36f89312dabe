"""What guardrails look at: mails that were sent, came back and were complained of, by campaign and by account.

Each index is built while nobody writes to campaign_actions: two of them hold a row for each email, and take about a
second for a million; the others hold what came back, and take as long as it takes to read the table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None

_ACTIONS = "campaign_actions"
_MOMENTS = ("sent", "bounced", "complained")
_FAILING = "ck_mailboxes_problem_when_failing"
_ACTIVE = "ck_mailboxes_no_problem_when_active"
_RATES = ("bounce_rate", "complaint_rate")


def upgrade() -> None:
    """Add the indexes, the moments from which guardrails count, and their settings."""
    for moment in _MOMENTS:
        happened = f"channel = 'email' AND {moment}_at IS NOT NULL"
        op.create_index(
            f"ix_campaign_actions_{moment}",
            _ACTIONS,
            ["instance_id", f"{moment}_at"],
            postgresql_where=sa.text(happened),
        )
        op.create_index(
            f"ix_campaign_actions_{moment}_by_sender",
            _ACTIONS,
            ["sender", f"{moment}_at"],
            postgresql_where=sa.text(f"{happened} AND sender IS NOT NULL"),
        )
    op.add_column("campaign_instances", sa.Column("guarded_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("mailboxes", sa.Column("guarded_since", sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint(op.f(_FAILING), "mailboxes")
    op.create_check_constraint(op.f(_FAILING), "mailboxes", "status <> 'failing' OR problem IS NOT NULL")
    op.create_check_constraint(op.f(_ACTIVE), "mailboxes", "status <> 'active' OR problem IS NULL")
    for rate in _RATES:
        op.add_column("settings", sa.Column(rate, sa.Double(), nullable=True))
        op.create_check_constraint(op.f(f"ck_settings_{rate}_range"), "settings", f"{rate} BETWEEN 0 AND 1")


def downgrade() -> None:
    """Take them away. A mailbox that a guardrail has paused stays so, without the reason."""
    for rate in _RATES:
        op.drop_column("settings", rate)
    op.execute("UPDATE mailboxes SET problem = NULL, problem_at = NULL WHERE status = 'paused'")
    op.drop_constraint(op.f(_ACTIVE), "mailboxes")
    op.drop_constraint(op.f(_FAILING), "mailboxes")
    op.create_check_constraint(op.f(_FAILING), "mailboxes", "(status = 'failing') = (problem IS NOT NULL)")
    op.drop_column("mailboxes", "guarded_since")
    op.drop_column("campaign_instances", "guarded_since")
    for moment in _MOMENTS:
        op.drop_index(f"ix_campaign_actions_{moment}_by_sender", _ACTIONS)
        op.drop_index(f"ix_campaign_actions_{moment}", _ACTIONS)
