"""Messages of enrollments in addition to those of their actions: a step may have been sent in several, and one may
belong to no step. Each leads to its enrollment; its step follows from the events (db.domain.history)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.action import Action
from db.postgres.json import rows_parameter
from db.services.state.enrollment_rows import Key, key_row

_KEEP = text("""
    INSERT INTO campaign_messages (instance_id, enrollment_id, provider_message_id, provider)
    SELECT instance_id, enrollment_id, provider_message_id, provider
    FROM jsonb_populate_recordset(NULL::campaign_messages, CAST(:rows AS jsonb))
    ON CONFLICT (instance_id, enrollment_id, provider_message_id) DO NOTHING
""")


def keep(session: Session, *, messages: Mapping[tuple[Key, str], str | None]) -> None:
    """Stores that these messages belong to these enrollments: (enrollment, message) -> its provider. The caller has
    locked the enrollments."""
    if messages:
        session.execute(_KEEP, rows_parameter(list(_rows(messages))))


_IS_NAMED = text("""
    SELECT EXISTS (
        SELECT FROM campaign_events
        WHERE instance_id = :campaign AND enrollment_id = :enrollment AND provider_message_id = :message
          AND step_number = :step AND NOT (is_inferred OR follows_message)
    )
""")


def is_named(session: Session, *, action: Action, message: str) -> bool:
    """Returns whether an event names this step for this message."""
    values = {"campaign": action.campaign_id, "enrollment": action.enrollment_id, "step": action.step_number}
    return bool(session.scalar(_IS_NAMED, {**values, "message": message}))


IS_ELSEWHERE = """
    EXISTS (SELECT FROM campaign_actions
            WHERE instance_id = CAST(:of_campaign AS uuid) AND enrollment_id = CAST(:of_enrollment AS uuid)
              AND provider_message_id = CAST(:message AS text) AND step_number <> CAST(:of_step AS int))
    OR EXISTS (SELECT FROM campaign_messages
               WHERE instance_id = CAST(:of_campaign AS uuid) AND enrollment_id = CAST(:of_enrollment AS uuid)
                 AND provider_message_id = CAST(:message AS text))
"""
"""Whether a message is known of another step of the enrollment, or of none; `asked` makes its parameters."""


def asked(message: tuple[Key, int, str] | None) -> dict[str, object]:
    """Returns the parameters of IS_ELSEWHERE for an enrollment, a step and its message; None for no message."""
    key, step, text_ = message or (None, None, None)
    of_campaign, of_enrollment = key or (None, None)
    return {"of_campaign": of_campaign, "of_enrollment": of_enrollment, "of_step": step, "message": text_}


_ANY_ELSEWHERE = text("""
    SELECT EXISTS (
        SELECT FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS w(instance_id uuid, enrollment_id uuid, step int, message text)
        WHERE EXISTS (SELECT FROM campaign_actions a
                      WHERE a.instance_id = w.instance_id AND a.enrollment_id = w.enrollment_id
                        AND a.provider_message_id = w.message AND a.step_number <> w.step)
           OR EXISTS (SELECT FROM campaign_messages m
                      WHERE m.instance_id = w.instance_id AND m.enrollment_id = w.enrollment_id
                        AND m.provider_message_id = w.message)
    )
""")


def any_elsewhere(session: Session, *, messages: Sequence[tuple[Key, int, str]]) -> bool:
    """Returns whether one of these messages (enrollment, step, message) is known of another step, or of none."""
    rows = [{**key_row(owner), "step": step, "message": message} for owner, step, message in messages]
    return bool(session.scalar(_ANY_ELSEWHERE, rows_parameter(rows)))


def _rows(messages: Mapping[tuple[Key, str], str | None]) -> Iterable[dict[str, Any]]:
    for (owner, message), provider in messages.items():
        yield {**key_row(owner), "provider_message_id": message, "provider": provider}
