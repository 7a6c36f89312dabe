"""Settings and subjects that can't be read are refused, and the server says which campaigns it has paused.

What stands is made to fit: settings that can't be read move into provider_config, and their campaign, if active, is
paused with the reason; of a subject, line breaks become spaces, and a blank one puts its step out of use.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_CAMPAIGNS = "campaign_instances"
_SETTINGS = {
    "settings_known": (
        'NOT jsonb_path_exists(settings, \'$ ? (exists(@.keyvalue() ? (!(@.key == "timezone" || @.key == '
        '"use_contact_timezone" || @.key == "sending_window" || @.key == "holidays" || @.key == "daily_l'
        'imit" || @.key == "min_gap_seconds" || @.key == "ramp_up" || @.key == "senders" || @.key == "va'
        'riables" || @.key == "primary_rate"))))\')'
    ),
    "settings_timezone": (
        'NOT jsonb_path_exists(settings, \'$ ? (@.timezone.type() != "string" || exists(@.timezone ? (!(@'
        ' like_regex "."))))\')'
    ),
    "settings_use_contact_timezone": (
        "NOT jsonb_path_exists(settings, '$ ? (@.use_contact_timezone.type() != \"boolean\")')"
    ),
    "settings_sending_window": (
        'NOT jsonb_path_exists(settings, \'$ ? (@.sending_window.type() != "object" || exists(@.sending_w'
        'indow.keyvalue() ? (!(@.key == "days" || @.key == "start" || @.key == "end"))) || (exists(@.sen'
        "ding_window) && !exists(@.sending_window.days)) || (exists(@.sending_window) && !exists(@.sendi"
        "ng_window.start)) || (exists(@.sending_window) && !exists(@.sending_window.end)) || @.sending_w"
        'indow.days.type() != "array" || @.sending_window.days.size() > 7 || exists(@.sending_window.day'
        's[*] ? (@.type() != "string" || exists(@ ? (!(@ like_regex "^(mon|tue|wed|thu|fri|sat|sun)$")))'
        ')) || @.sending_window.start.type() != "string" || exists(@.sending_window.start ? (!(@ like_re'
        'gex "^([01][0-9]|2[0-3]):[0-5][0-9]$"))) || @.sending_window.end.type() != "string" || exists(@'
        '.sending_window.end ? (!(@ like_regex "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24[:]00$"))))\')'
    ),
    "settings_holidays": (
        'NOT jsonb_path_exists(settings, \'$ ? (@.holidays.type() != "array" || @.holidays.size() > 400 |'
        '| exists(@.holidays[*] ? (@.type() != "string" || exists(@ ? (!(@ like_regex "^[0-9]{4}-[0-9]{2'
        "}-[0-9]{2}$\"))))))')"
    ),
    "settings_daily_limit": (
        'NOT jsonb_path_exists(settings, \'$ ? (@.daily_limit.type() != "number" || @.daily_limit < 1 || '
        "@.daily_limit > 1000000 || @.daily_limit != @.daily_limit.floor())')"
    ),
    "settings_min_gap_seconds": (
        'NOT jsonb_path_exists(settings, \'$ ? (@.min_gap_seconds.type() != "number" || @.min_gap_seconds'
        " < 0 || @.min_gap_seconds > 86400 || @.min_gap_seconds != @.min_gap_seconds.floor())')"
    ),
    "settings_ramp_up": (
        'NOT jsonb_path_exists(settings, \'$ ? (@.ramp_up.type() != "object" || exists(@.ramp_up.keyvalue'
        '() ? (!(@.key == "start" || @.key == "increase"))) || (exists(@.ramp_up) && !exists(@.ramp_up.s'
        'tart)) || (exists(@.ramp_up) && !exists(@.ramp_up.increase)) || @.ramp_up.start.type() != "numb'
        'er" || @.ramp_up.start < 1 || @.ramp_up.start > 1000000 || @.ramp_up.start != @.ramp_up.start.f'
        'loor() || @.ramp_up.increase.type() != "number" || @.ramp_up.increase < 1 || @.ramp_up.increase'
        " > 1000000 || @.ramp_up.increase != @.ramp_up.increase.floor())')"
    ),
    "settings_senders": (
        'NOT jsonb_path_exists(settings, \'$ ? (@.senders.type() != "object" || exists(@.senders.keyvalue'
        '() ? (!(@.key == "email" || @.key == "linkedin"))) || @.senders.email.type() != "object" || exi'
        'sts(@.senders.email.keyvalue() ? (!(@.key == "account" || @.key == "daily_limit" || @.key == "m'
        'in_gap_seconds"))) || (exists(@.senders.email) && !exists(@.senders.email.account)) || @.sender'
        's.email.account.type() != "string" || exists(@.senders.email.account ? (!(@ like_regex "."))) |'
        '| @.senders.email.daily_limit.type() != "number" || @.senders.email.daily_limit < 1 || @.sender'
        "s.email.daily_limit > 1000000 || @.senders.email.daily_limit != @.senders.email.daily_limit.flo"
        'or() || @.senders.email.min_gap_seconds.type() != "number" || @.senders.email.min_gap_seconds <'
        " 0 || @.senders.email.min_gap_seconds > 86400 || @.senders.email.min_gap_seconds != @.senders.e"
        'mail.min_gap_seconds.floor() || @.senders.linkedin.type() != "object" || exists(@.senders.linke'
        'din.keyvalue() ? (!(@.key == "account" || @.key == "daily_limit" || @.key == "min_gap_seconds")'
        ")) || (exists(@.senders.linkedin) && !exists(@.senders.linkedin.account)) || @.senders.linkedin"
        '.account.type() != "string" || exists(@.senders.linkedin.account ? (!(@ like_regex "."))) || @.'
        'senders.linkedin.daily_limit.type() != "number" || @.senders.linkedin.daily_limit < 1 || @.send'
        "ers.linkedin.daily_limit > 1000000 || @.senders.linkedin.daily_limit != @.senders.linkedin.dail"
        'y_limit.floor() || @.senders.linkedin.min_gap_seconds.type() != "number" || @.senders.linkedin.'
        "min_gap_seconds < 0 || @.senders.linkedin.min_gap_seconds > 86400 || @.senders.linkedin.min_gap"
        "_seconds != @.senders.linkedin.min_gap_seconds.floor())')"
    ),
    "settings_variables": (
        'NOT jsonb_path_exists(settings, \'$ ? (@.variables.type() != "object" || exists(@.variables.keyv'
        'alue() ? (@.value.type() == "object" || @.value.type() == "array" || @.value.type() == "null" |'
        '| !(@.key like_regex "^[A-Za-z_][A-Za-z0-9_]{0,63}$"))))\')'
    ),
    "settings_primary_rate": (
        'NOT jsonb_path_exists(settings, \'$ ? (@.primary_rate.type() != "string" || exists(@.primary_rat'
        'e ? (!(@ like_regex "^(delivery_rate|open_rate|click_rate|click_through_rate|reply_rate|bounce_'
        "rate|unsubscribe_rate|acceptance_rate)$\"))))')"
    ),
}
_PAUSED = {
    "pause_reason_length": "char_length(pause_reason) BETWEEN 1 AND 2000",
    "pause_reason_when_paused": "pause_reason IS NULL OR status = 'paused'",
}
_BREAKS = r"[\n\r\v\f\u0085\u2028\u2029]"
_SUBJECTS = {"subject_not_blank": r"subject ~ '\S'", "subject_one_line": f"subject !~ '{_BREAKS}'"}


def upgrade() -> None:
    """Add the column, make the rows that stand fit, and add the rules."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(_CAMPAIGNS, sa.Column("pause_reason", sa.Text(), nullable=True))
    _set_aside()
    in_one_line = f"regexp_replace(subject, '{_BREAKS}+', ' ', 'g')"
    op.execute(f"UPDATE email_sequences SET subject = {in_one_line} WHERE subject ~ '{_BREAKS}'")
    op.execute(r"UPDATE email_sequences SET subject = '(no subject)', is_active = false WHERE subject !~ '\S'")
    for name, rule in (_SETTINGS | _PAUSED).items():
        op.create_check_constraint(op.f(f"ck_{_CAMPAIGNS}_{name}"), _CAMPAIGNS, rule)
    for name, rule in _SUBJECTS.items():
        op.create_check_constraint(op.f(f"ck_email_sequences_{name}"), "email_sequences", rule)


def _set_aside() -> None:
    wrong = " OR ".join(f"({rule}) IS FALSE" for rule in _SETTINGS.values())
    op.execute(f"""
        UPDATE campaign_instances
        SET provider_config = provider_config || jsonb_build_object('unreadable_settings', settings), settings = '{{}}',
            pause_reason = CASE WHEN status IN ('active', 'paused') THEN
                'invalid_settings: the settings could not be read, and stand in provider_config.unreadable_settings. '
                'update_campaign gives new ones, and start_campaign then resumes the campaign.' END,
            paused_at = CASE WHEN status = 'active' THEN now() ELSE paused_at END,
            status = CASE WHEN status = 'active' THEN 'paused' ELSE status END
        WHERE {wrong}
    """)


def downgrade() -> None:
    """Take the rules and the column away."""
    for name in _SUBJECTS:
        op.drop_constraint(op.f(f"ck_email_sequences_{name}"), "email_sequences")
    for name in _SETTINGS:
        op.drop_constraint(op.f(f"ck_{_CAMPAIGNS}_{name}"), _CAMPAIGNS)
    op.drop_column(_CAMPAIGNS, "pause_reason")
