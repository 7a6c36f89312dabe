"""Reads and writes the state of actions that events change."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from db.domain.action import Action
from db.domain.ids import new_ids
from db.domain.states import ActionOutcome, ActionStatus, Channel, SentSource
from db.models.campaigns import MILESTONE_COLUMNS
from db.postgres.results import named
from db.services.state.enrollment_rows import Key

COLUMNS = f"""
    a.step_number, a.channel, a.a_b_variant, a.provider, a.provider_message_id, a.open_count, a.click_count,
    ARRAY[{", ".join(f"a.{time}" for time in MILESTONE_COLUMNS)}], a.status, a.sent_source, a.delivery_told_at,
    a.reported, a.sent_to, a.claimed_at, a.reserved_at, a.sender
"""
NAMES = named(
    "step_number",
    "channel",
    "a_b_variant",
    "provider",
    "provider_message_id",
    "opens",
    "clicks",
    "times",
    "status",
    "sent_source",
    "delivery_told_at",
    "reported",
    "sent_to",
    "claimed_at",
    "reserved_at",
    "sender",
)

# Look-up tables, because a batch makes thousands of members and the constructors of enums are ten times slower.
_CHANNELS = {str(channel): channel for channel in Channel}
_STATUSES = {str(status): status for status in ActionStatus}
_OUTCOMES = {None: None, **{str(outcome): outcome for outcome in ActionOutcome}}
_SOURCES = {None: None, **{str(source): source for source in SentSource}}


def from_row(owner: Key, columns: Sequence[Any]) -> Action:
    """Returns the action of a row of COLUMNS."""
    step_number, channel, variant, provider, message_id, opens, clicks, times, *known = columns
    status, source, delivery, reported, sent_to, *claim = known
    return Action(
        *owner,
        step_number,
        _CHANNELS[channel],
        variant,
        provider,
        message_id,
        times,
        opens,
        clicks,
        _STATUSES[status],
        _SOURCES[source],
        delivery,
        _OUTCOMES[reported],
        sent_to,
        *claim,
    )


_VALUES = (
    "provider",
    "provider_message_id",
    "status",
    "open_count",
    "click_count",
    "sent_source",
    "delivery_told_at",
    "reported",
    "sent_to",
    *MILESTONE_COLUMNS,
)
WRITING = f"""
    INSERT INTO campaign_actions (instance_id, id, enrollment_id, step_number, channel, a_b_variant,
                                  {", ".join(_VALUES)})
    SELECT instance_id, id, enrollment_id, step_number, channel, a_b_variant, {", ".join(_VALUES)}
    FROM jsonb_populate_recordset(NULL::campaign_actions, CAST(:actions AS jsonb))
    ON CONFLICT (instance_id, enrollment_id, step_number) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in _VALUES)}, updated_at = excluded.updated_at
"""
"""The statement that writes actions, its parameter `actions`: what `rows` makes."""


def rows(actions: Sequence[Action]) -> list[dict[str, Any]]:
    """Returns the actions as WRITING takes them."""
    return [_row(id_, action) for id_, action in zip(new_ids(len(actions)), actions, strict=True)]


def _row(id_: UUID, action: Action) -> dict[str, Any]:
    return {
        "instance_id": action.campaign_id,
        "id": id_,
        "enrollment_id": action.enrollment_id,
        "step_number": action.step_number,
        "channel": action.channel,
        "a_b_variant": action.a_b_variant,
        "provider": action.provider,
        "provider_message_id": action.provider_message_id,
        "status": action.status,
        "open_count": action.open_count,
        "click_count": action.click_count,
        "sent_source": action.sent_source,
        "delivery_told_at": action.delivery_told_at,
        "reported": action.reported,
        "sent_to": action.sent_to,
        **moments(action),
    }


def moments(action: Action) -> dict[str, datetime]:
    """Returns the milestones that were reached: column -> moment."""
    return {name: time for name, time in zip(MILESTONE_COLUMNS, action.times, strict=True) if time is not None}
