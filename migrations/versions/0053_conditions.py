"""Conditions of steps.

Both tables of steps are locked for a moment: the new column is NULL everywhere, so the rules are quick to check.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

_TABLES = ("email_sequences", "linkedin_sequences")
_WRONG = (
    '@.type() != "object" || exists(@.keyvalue() ? (!(@.key == "fact" || @.key == "step_number" || '
    '@.key == "name" || @.key == "is" || @.key == "not" || @.key == "else" || '
    '@.key == "wait_hours"))) || (exists(@) && !exists(@.fact)) || (exists(@) && !exists(@.else)) || '
    '@.fact.type() != "string" || '
    'exists(@.fact ? (!(@ like_regex "^(opened|clicked|accepted|reply_kind|variant|attribute)$"))) || '
    '@.step_number.type() != "number" || @.step_number < 1 || @.step_number > 1000 || '
    '@.step_number != @.step_number.floor() || @.name.type() != "string" || '
    'exists(@.name ? (!(@ like_regex "^.{1,200}$"))) || '
    '(@.is.type() != "string" && @.is.type() != "boolean") || '
    'exists(@.is ? (@.type() == "string" && !(@ like_regex "^.{1,200}$"))) || '
    '(@.not.type() != "string" && @.not.type() != "boolean") || '
    'exists(@.not ? (@.type() == "string" && !(@ like_regex "^.{1,200}$"))) || '
    '@.else.type() != "string" || exists(@.else ? (!(@ like_regex "^(skip|wait)$"))) || '
    '@.wait_hours.type() != "number" || @.wait_hours < 1 || @.wait_hours > 720 || '
    "@.wait_hours != @.wait_hours.floor() || (exists(@.is) && exists(@.not)) || "
    '((@.fact == "attribute") && !exists(@.name)) || ((@.fact != "attribute") && exists(@.name)) || '
    '(!(@.fact like_regex "^(accepted|clicked|opened)$") && exists(@.step_number)) || '
    '((@.fact like_regex "^(accepted|clicked|opened)$") && (@.is.type() == "string" || '
    '@.not.type() == "string")) || ((@.fact == "variant") && !exists(@.is) && !exists(@.not)) || '
    '((@.fact == "variant" || @.fact == "reply_kind") && (@.is.type() == "boolean" || '
    '@.not.type() == "boolean")) || ((@.else == "wait") && !exists(@.wait_hours)) || '
    '((@.else == "skip") && exists(@.wait_hours))'
)
_RULES = {
    "condition_object": "jsonb_typeof(condition) = 'object'",
    "condition": f"condition IS NULL OR NOT jsonb_path_exists(condition, '$ ? ({_WRONG})')",
    "condition_before": "(condition -> 'step_number') < CAST(CAST(step_number AS text) AS jsonb)",
}


def upgrade() -> None:
    """Add the column and its rules."""
    for table in _TABLES:
        op.add_column(table, sa.Column("condition", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
        for name, rule in _RULES.items():
            op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, sa.text(rule))


def downgrade() -> None:
    """Take them away. Refused while a step has a condition, which would go out to everybody then."""
    asked = " UNION ALL ".join(f"SELECT 1 FROM {table} WHERE condition IS NOT NULL AND is_active" for table in _TABLES)
    steps = op.get_bind().scalar(sa.text(f"SELECT count(*) FROM ({asked}) found"))
    if steps:
        raise RuntimeError(
            f"{steps} steps have a condition, which the older version does not know: take the conditions or the steps "
            "out of use with update_template, and go back then."
        )
    for table in _TABLES:
        op.drop_column(table, "condition")
