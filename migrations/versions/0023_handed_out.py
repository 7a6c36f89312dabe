"""What was handed out of a LinkedIn step is kept with it: the type of the step may be changed before the report."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_TABLE = "campaign_actions"
_CHECKS = {
    "linkedin_type": "linkedin_type IN ('profile_visit', 'connection_request', 'message', 'voice_message')",
    "linkedin_type_of_channel": "linkedin_type IS NULL OR channel = 'linkedin'",
}


def upgrade() -> None:
    """Add the column. Steps that were handed out before are reported as the type that their step has then."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(_TABLE, sa.Column("linkedin_type", sa.Text(), nullable=True))
    for name, rule in _CHECKS.items():
        op.create_check_constraint(op.f(f"ck_{_TABLE}_{name}"), _TABLE, rule)


def downgrade() -> None:
    """Take it away."""
    op.drop_column(_TABLE, "linkedin_type")
