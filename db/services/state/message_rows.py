"""Writes and reads the messages of steps: the words that were handed out, as they were handed out.

There is one message for each action. A step that is handed out again, because its lease ran out or it was reported as
failed, gets the words of the last time.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.drafts import UNASKED, Consent
from db.domain.ids import new_id, new_ids
from db.domain.states import STATES_BEFORE, Channel, MessageCommand, MessageDirection
from db.domain.threads import SentMail
from db.postgres.json import rows_parameter
from db.postgres.results import named


class Words(NamedTuple):
    """What a message says. A step without words has neither; one on LinkedIn has no subject.

    internet_message_id: of a mail, the one that it went out with, or was handed out with, without angle brackets.
    status: of a mail that this server sends. id: of the message.
    """

    subject: str | None
    body: str | None
    internet_message_id: str | None = None
    status: str | None = None
    id: UUID | None = None


class Handed(NamedTuple):
    """What is handed out to be sent. `new_thread`: it is a mail that answers none before it. `message_domain`: what
    its Message-ID ends in; None for no Message-ID."""

    subject: str | None
    body: str | None
    new_thread: bool = False
    message_domain: str | None = None
    mailbox_id: UUID | None = None
    consent: Consent = UNASKED


_CLAIMED_AGAIN = ", ".join(f"'{status}'" for status in STATES_BEFORE[MessageCommand.QUEUE])
KEEPING = f"""
    given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:messages AS jsonb)) AS m(
            id uuid, enrollment_id uuid, subject text, body text, new_thread boolean, message_domain text,
            mailbox_id uuid, occurred_at timestamptz, approval text, fingerprint text, approved_fingerprint text)
    ), kept AS MATERIALIZED (
        INSERT INTO messages (id, direction, channel, instance_id, enrollment_id, action_id, internet_message_id,
                              subject, new_thread, occurred_at, mailbox_id, approval, fingerprint,
                              approved_fingerprint)
        SELECT given.id, '{MessageDirection.OUT}', actions.channel, actions.instance_id, actions.enrollment_id,
               actions.id, CAST(actions.id AS text) || '@' || given.message_domain, given.subject, given.new_thread,
               given.occurred_at, given.mailbox_id, given.approval, decode(given.fingerprint, 'hex'),
               decode(given.approved_fingerprint, 'hex')
        FROM given JOIN actions ON actions.enrollment_id = given.enrollment_id
        ON CONFLICT (action_id) WHERE direction = '{MessageDirection.OUT}' DO UPDATE
        SET subject = excluded.subject, new_thread = excluded.new_thread, occurred_at = excluded.occurred_at,
            mailbox_id = excluded.mailbox_id, status = NULL, next_attempt_at = NULL, approval = excluded.approval,
            fingerprint = excluded.fingerprint, approved_fingerprint = excluded.approved_fingerprint,
            updated_at = excluded.updated_at,
            internet_message_id = coalesce(messages.internet_message_id, excluded.internet_message_id)
        WHERE messages.status IS NULL OR messages.status IN ({_CLAIMED_AGAIN})
        RETURNING id, enrollment_id, internet_message_id
    ), bodies AS (
        INSERT INTO message_bodies (message_id, body)
        SELECT kept.id, given.body FROM kept JOIN given ON given.enrollment_id = kept.enrollment_id
        ON CONFLICT (message_id) DO UPDATE SET body = excluded.body, raw = NULL
    )
"""
"""The parts of a statement that keep the words of steps, each in the place of those of an earlier time; a Message-ID
stays as it was first handed out. A mail that this server may have sent stays as it is. `kept` returns the enrollment_id
and internet_message_id of each. Its parameter `messages` is what `rows` makes; its materialized part `actions` returns
the instance_id, id, enrollment_id and channel of each."""


def rows(texts: Mapping[UUID, Handed], occurred_at: datetime) -> list[dict[str, object]]:
    """Returns the texts of these enrollments as KEEPING takes them. They are handed out at that moment."""
    return [
        {
            "id": id_,
            "enrollment_id": enrollment_id,
            "subject": handed.subject,
            "body": handed.body,
            "new_thread": handed.new_thread,
            "message_domain": handed.message_domain,
            "mailbox_id": handed.mailbox_id,
            "occurred_at": occurred_at,
            "approval": handed.consent.approval,
            "fingerprint": handed.consent.fingerprint and handed.consent.fingerprint.hex(),
            "approved_fingerprint": handed.consent.approved and handed.consent.approved.hex(),
        }
        for id_, (enrollment_id, handed) in zip(new_ids(len(texts)), texts.items(), strict=True)
    ]


_OF_ACTIONS = text(f"""
    SELECT m.action_id, CASE WHEN b.message_id IS NOT NULL THEN m.subject END, b.body, m.internet_message_id,
           m.status, m.id
    FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id
    WHERE m.action_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND m.direction = '{MessageDirection.OUT}'
""").columns(*named("action_id", "subject", "body", "internet_message_id", "status", "id"))


def of_actions(session: Session, *, action_ids: Collection[UUID]) -> Mapping[UUID, Words]:
    """Returns action -> the words that were handed out. Those that are older than is kept are left out, though not the
    Message-ID; an action that was never handed out, or whose words were erased, has none."""
    if not action_ids:
        return {}
    rows = session.execute(_OF_ACTIONS, rows_parameter(list(action_ids)))
    return {action_id: Words(*said) for action_id, *said in rows}


class SentStep(NamedTuple):
    """A mail that was sent, and of which step and variant. `is_kept`: how it was handed out is known. `mailbox_id`:
    that it came from, if it was one of ours."""

    step_number: int
    a_b_variant: str | None
    is_kept: bool
    mail: SentMail
    mailbox_id: UUID | None = None


_SENT_BEFORE = text(f"""
    SELECT a.enrollment_id, a.step_number, a.a_b_variant, m.subject IS NOT NULL, m.internet_message_id, m.subject,
           coalesce(m.new_thread, FALSE), m.mailbox_id
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(instance_id uuid, enrollment_id uuid, step_number int)
    CROSS JOIN LATERAL (
        SELECT id, enrollment_id, step_number, a_b_variant FROM campaign_actions
        WHERE enrollment_id = w.enrollment_id AND step_number < w.step_number AND instance_id = w.instance_id
          AND channel = '{Channel.EMAIL}' AND sent_at IS NOT NULL
        OFFSET 0
    ) a
    LEFT JOIN LATERAL (
        SELECT id, internet_message_id, subject, new_thread, mailbox_id FROM messages
        WHERE action_id = a.id AND direction = '{MessageDirection.OUT}'
        OFFSET 0
    ) m ON TRUE
    ORDER BY a.enrollment_id, a.step_number
""").columns(
    *named(
        "enrollment_id",
        "step_number",
        "variant",
        "is_kept",
        "internet_message_id",
        "subject",
        "new_thread",
        "mailbox_id",
    )
)


_USED = text(f"""
    INSERT INTO messages (id, direction, channel, instance_id, enrollment_id, action_id, internet_message_id,
                          occurred_at)
    SELECT CAST(:id AS uuid), '{MessageDirection.OUT}', a.channel, a.instance_id, a.enrollment_id, a.id, :used,
           CAST(:now AS timestamptz)
    FROM campaign_actions a
    JOIN campaign_enrollments e ON e.instance_id = a.instance_id AND e.id = a.enrollment_id
    JOIN contacts c ON c.id = e.contact_id AND c.erased_at IS NULL
    WHERE a.id = :action
    ON CONFLICT (action_id) WHERE direction = '{MessageDirection.OUT}' DO UPDATE
    SET internet_message_id = excluded.internet_message_id, updated_at = excluded.updated_at
    WHERE messages.internet_message_id IS DISTINCT FROM excluded.internet_message_id
      AND NOT EXISTS (
          SELECT FROM messages other
          WHERE other.internet_message_id = excluded.internet_message_id AND other.mailbox_id = messages.mailbox_id
            AND other.direction = messages.direction
      )
""")


def note_id(session: Session, *, action_id: UUID, internet_message_id: str, now: datetime) -> None:
    """Keeps the Message-ID that the mail of a step really went out with, unless another mail of its mailbox has it;
    also where its words were not kept. Of an erased person nothing is kept."""
    values = {"id": new_id(), "action": action_id, "used": internet_message_id, "now": now}
    session.execute(_USED, values)


_ID_OF_STEP = text(f"""
    SELECT m.internet_message_id FROM campaign_actions a
    JOIN messages m ON m.action_id = a.id AND m.direction = '{MessageDirection.OUT}'
    WHERE a.enrollment_id = :enrollment AND a.step_number = :step_number AND a.instance_id = :campaign
""")


def id_of_step(session: Session, *, campaign_id: UUID, enrollment_id: UUID, step_number: int) -> str | None:
    """Returns the Message-ID of a step, if it was handed out with one."""
    values = {"campaign": campaign_id, "enrollment": enrollment_id, "step_number": step_number}
    return session.scalar(_ID_OF_STEP, values)


def sent_before(session: Session, *, steps: Sequence[tuple[UUID, UUID, int]]) -> Mapping[UUID, Sequence[SentStep]]:
    """Returns enrollment -> the mails that were sent to its person before a step, in the order of their steps. `steps`:
    the campaign, the enrollment and the number of each."""
    found: dict[UUID, list[SentStep]] = {}
    if not steps:
        return found
    names = ("instance_id", "enrollment_id", "step_number")
    rows = rows_parameter([dict(zip(names, step, strict=True)) for step in steps])
    for enrollment_id, number, variant, is_kept, *mail, mailbox_id in session.execute(_SENT_BEFORE, rows):
        found.setdefault(enrollment_id, []).append(SentStep(number, variant, is_kept, SentMail(*mail), mailbox_id))
    return found


_FORGET = text("""
    WITH looked_at AS MATERIALIZED (
        SELECT m.id, m.occurred_at, m.thread_id,
               coalesce(m.status IN ('sending', 'unknown'), FALSE)
               OR (m.action_id IS NOT NULL AND EXISTS (SELECT FROM campaign_enrollments e
                       WHERE e.instance_id = m.instance_id AND e.id = m.enrollment_id
                         AND e.status IN ('enrolled', 'active', 'paused'))) AS is_needed
        FROM messages m
        WHERE m.occurred_at < :before AND m.occurred_at >= :since AND (m.occurred_at, m.id) > (:since, :after)
        ORDER BY m.occurred_at, m.id LIMIT :limit FOR UPDATE OF m SKIP LOCKED
    ), bodies AS (
        DELETE FROM message_bodies WHERE message_id = ANY (ARRAY(SELECT id FROM looked_at)) RETURNING 1
    ), rows AS (
        DELETE FROM messages WHERE id = ANY (ARRAY(SELECT id FROM looked_at WHERE NOT is_needed)) RETURNING 1
    ), emptied AS (
        DELETE FROM threads t WHERE t.id = ANY (ARRAY(SELECT thread_id FROM looked_at WHERE NOT is_needed))
          AND NOT EXISTS (SELECT FROM messages m WHERE m.thread_id = t.id
                          AND m.id <> ALL (ARRAY(SELECT id FROM looked_at WHERE NOT is_needed)))
        RETURNING id
    ), drafts AS (
        DELETE FROM action_drafts d USING emptied WHERE d.thread_id = emptied.id
    )
    SELECT (SELECT count(*) FROM bodies), (SELECT count(*) FROM looked_at), last.occurred_at, last.id
    FROM (SELECT 1) one
    LEFT JOIN (SELECT occurred_at, id FROM looked_at ORDER BY occurred_at DESC, id DESC LIMIT 1) last ON TRUE
""").columns(*named("bodies", "looked_at", "occurred_at", "id"))


class Place(NamedTuple):
    """A message in their order by age: when it was handed out, and its id."""

    occurred_at: datetime
    id: UUID


OLDEST: Final = Place(datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))
"""Before all messages."""


def forget_some(session: Session, *, before: datetime, after: Place = OLDEST, limit: int) -> tuple[int, Place | None]:
    """Looks at up to `limit` messages of before that moment, from the one after `after` on, and deletes their bodies.
    Of steps whose enrollment goes on, the subject and the Message-ID stay, which a later mail of the thread needs; so
    do those of mails of which nobody knows whether they went out. A thread goes with its last message, and its
    drafts go with it.

    Returns how many bodies were deleted, and the last message looked at; None if that was the last of all.
    """
    values = {"before": before, "since": after.occurred_at, "after": after.id, "limit": limit}
    bodies, looked_at, *last = session.execute(_FORGET, values).one()
    return bodies, Place(*last) if looked_at == limit else None
