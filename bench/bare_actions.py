"""What claim and complete write, by a bare program: the limit of the same work.

It writes the same rows of the same tables in as many transactions, with one statement for each report. It checks
nothing, renders no text, and reads nothing but who is due.
"""

from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

from psycopg import Connection

from db.domain.ids import new_ids
from db.postgres.database import Database

_NEXT: LiteralString = """
    SELECT id, contact_id FROM campaign_enrollments
    WHERE instance_id = %s AND status = 'active' AND next_action_at <= %s
    ORDER BY next_action_at, id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""
_CLAIM: LiteralString = """
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(%(actions)s::uuid[], %(messages)s::uuid[], %(people)s::uuid[], %(contacts)s::uuid[])
            AS g(action, message, person, contact)
    ), conversations AS (
        INSERT INTO conversations (contact_id, instance_id, enrollment_id)
        SELECT contact, %(campaign)s, person FROM given
        ON CONFLICT (contact_id) DO UPDATE SET enrollment_id = excluded.enrollment_id
    ), actions AS (
        INSERT INTO campaign_actions (instance_id, id, enrollment_id, step_number, channel, a_b_variant, status,
                                      lease_token, lease_until, claimed_at, reserved_at)
        SELECT %(campaign)s, action, person, 1, 'email', 'A', 'claimed', %(lease)s, %(now)s, %(now)s, %(now)s FROM given
    ), messages AS (
        INSERT INTO messages (id, direction, channel, instance_id, enrollment_id, action_id, internet_message_id,
                              subject, occurred_at)
        SELECT message, 'out', 'email', %(campaign)s, person, action, action::text || '@example.com', 'Subject', %(now)s
        FROM given
    ), bodies AS (
        INSERT INTO message_bodies (message_id, body) SELECT message, 'Body of the mail' FROM given
    ), enrollments AS (
        UPDATE campaign_enrollments e SET next_action_at = %(until)s, updated_at = now()
        FROM given WHERE e.instance_id = %(campaign)s AND e.id = given.person
    )
    INSERT INTO campaign_usage (instance_id, quarter, backend, used, last_at)
    SELECT %(campaign)s, date_trunc('hour', %(now)s), pg_backend_pid(), count(*), %(now)s FROM given
    ON CONFLICT (instance_id, quarter, backend) DO UPDATE SET used = campaign_usage.used + excluded.used
"""
_COMPLETE: LiteralString = """
    WITH events AS (
        INSERT INTO campaign_events (instance_id, id, enrollment_id, event_type, channel, step_number, occurred_at,
                                     provider, provider_message_id, metadata)
        VALUES (%(campaign)s, %(event)s, %(person)s, 'sent', 'email', 1, %(now)s, 'bench', %(event)s::text, '{}')
    ), actions AS (
        UPDATE campaign_actions SET status = 'sent', sent_at = %(now)s, sent_source = 'told', provider = 'bench',
               provider_message_id = %(event)s::text, reported = 'sent', updated_at = now()
        WHERE instance_id = %(campaign)s AND id = %(action)s
    ), enrollments AS (
        UPDATE campaign_enrollments
        SET status = 'active', current_step = 1, next_action_at = %(until)s, updated_at = now()
        WHERE instance_id = %(campaign)s AND id = %(person)s
    ), metrics AS (
        UPDATE campaign_metrics SET sent = sent + 1 WHERE instance_id = %(campaign)s AND step_number = 1
           AND channel = 'email' AND a_b_variant = 'A' AND cohort_day = CAST(%(now)s AS timestamptz)::date
    ), threads AS (
        INSERT INTO threads (id, instance_id, enrollment_id, contact_id, subject, last_message_at, messages)
        VALUES (%(message)s, %(campaign)s, %(person)s, %(contact)s, 'Subject', %(now)s, 1)
    )
    UPDATE messages SET thread_id = %(message)s WHERE id = %(message)s
"""


class BareProgram:
    """One connection that works off a campaign of `bench.actions`, `batch` people at a time."""

    def __init__(self, opened: Database, campaign_id: UUID, now: datetime) -> None:
        self._pooled = opened.engine.raw_connection()
        driver = self._pooled.driver_connection
        assert driver is not None
        self._connection: Connection[Any] = driver
        self._connection.autocommit = True
        self._connection.prepare_threshold = 0
        self._given: dict[str, object] = {"campaign": campaign_id, "now": now, "until": now + timedelta(days=2)}
        self._campaign_id = campaign_id

    def work_off(self, actions: int, batch: int) -> None:
        for _ in range(actions // batch):
            for values in self._claim(batch):
                with self._connection.transaction():
                    self._connection.execute(_COMPLETE, {**self._given, **values, "event": uuid4()})

    def _claim(self, batch: int) -> list[dict[str, UUID]]:
        with self._connection.transaction():
            due = self._connection.execute(_NEXT, (self._campaign_id, self._given["now"], batch)).fetchall()
            people, contacts = zip(*due, strict=True)
            names: dict[str, list[UUID]] = {
                "actions": list(new_ids(batch)),
                "messages": list(new_ids(batch)),
                "people": [*people],
                "contacts": [*contacts],
            }
            self._connection.execute(_CLAIM, {**self._given, **names, "lease": uuid4()})
        rows = zip(*names.values(), strict=True)
        return [dict(zip(("action", "message", "person", "contact"), row, strict=True)) for row in rows]

    def close(self) -> None:
        self._connection.autocommit = False
        self._pooled.close()
