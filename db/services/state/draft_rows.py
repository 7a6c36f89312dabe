"""Reads and writes drafts: the words of steps that wait for a person, or that a person has decided on.

Who writes a draft has locked its enrollment, so that an edit, an approval, a claim and a send follow one another.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.drafts import LIVE_DRAFTS, DraftSource, DraftStatus, Literal, Wording
from db.domain.ids import new_ids
from db.domain.states import Channel
from db.postgres.json import rows_parameter
from db.postgres.results import named


class Draft(NamedTuple):
    """A draft whose words may still go out.

    is_by_person: a person approved it. Words that were written while the campaign asked nobody are approved without.
    """

    id: UUID
    enrollment_id: UUID
    step_number: int
    channel: Channel
    source: DraftSource
    status: DraftStatus
    subject: str | None
    has_subject: bool
    body: str
    fingerprint: bytes
    is_by_person: bool

    @property
    def literal(self) -> Literal | None:
        """Returns the words, if they were written for the person; None if they are those of the template."""
        if self.source is not DraftSource.WRITTEN:
            return None
        return Literal(self.subject if self.has_subject else None, self.body)

    @property
    def approved(self) -> bytes | None:
        """Returns the fingerprint of the words that a person approved."""
        return self.fingerprint if self.status is DraftStatus.APPROVED and self.is_by_person else None


_LIVE = ", ".join(f"'{status}'" for status in LIVE_DRAFTS)
_COLUMNS = """
    d.id, d.enrollment_id, d.step_number, d.channel, d.source, d.status, d.subject, d.has_subject, d.body,
    d.fingerprint, d.decided_by IS NOT NULL
"""
_NAMES = named(
    "id", "enrollment_id", "step_number", "channel", "source", "status", "subject", "has_subject", "body",
    "fingerprint", "is_by_person",
)  # fmt: skip
_OF_STEPS = text(f"""
    SELECT {_COLUMNS}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(enrollment_id uuid, step_number int)
    JOIN action_drafts d ON d.enrollment_id = w.enrollment_id AND d.step_number = w.step_number
     AND d.status IN ({_LIVE}) AND d.body IS NOT NULL
""").columns(*_NAMES)


def of_steps(session: Session, *, steps: Iterable[tuple[UUID, int]]) -> dict[tuple[UUID, int], Draft]:
    """Returns (enrollment, step number) -> the draft of that step whose words may go out."""
    rows = [{"enrollment_id": enrollment_id, "step_number": number} for enrollment_id, number in steps]
    found = session.execute(_OF_STEPS, rows_parameter(rows)) if rows else ()
    return {(draft.enrollment_id, draft.step_number): draft for draft in map(_draft, found)}


def _draft(row: Sequence[Any]) -> Draft:
    id_, enrollment_id, number, channel, source, status, subject, has_subject, body, fingerprint, is_by_person = row
    return Draft(
        id_,
        enrollment_id,
        number,
        Channel(channel),
        DraftSource(source),
        DraftStatus(status),
        subject,
        has_subject,
        body,
        bytes(fingerprint),
        is_by_person,
    )


class NewDraft(NamedTuple):
    """The words of a step as they would go out now. decided_at: when they count as approved, where nobody is asked."""

    campaign_id: UUID
    enrollment_id: UUID
    step_number: int
    channel: Channel
    source: DraftSource
    has_subject: bool
    wording: Wording
    decided_at: datetime | None = None


_STALE = text(f"""
    UPDATE action_drafts d SET status = 'stale', updated_at = now()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(enrollment_id uuid, step_number int)
    WHERE d.enrollment_id = g.enrollment_id AND d.step_number = g.step_number AND d.status IN ({_LIVE})
""")
_INSERT = text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
            id uuid, instance_id uuid, enrollment_id uuid, step_number int, channel text, source text, status text,
            subject text, has_subject boolean, body text, fingerprint text, decided_at timestamptz)
    )
    INSERT INTO action_drafts (id, instance_id, enrollment_id, step_number, channel, source, status, subject,
                               has_subject, body, fingerprint, decided_at)
    SELECT id, instance_id, enrollment_id, step_number, channel, source, status, subject, has_subject, body,
           decode(fingerprint, 'hex'), decided_at
    FROM given
""")


def replace(session: Session, *, drafts: Sequence[NewDraft]) -> list[UUID]:
    """Keeps these words in the place of those that their steps had, which are stale now. Returns their ids."""
    if not drafts:
        return []
    ids = new_ids(len(drafts))
    rows = [
        {
            "id": id_,
            "instance_id": draft.campaign_id,
            "enrollment_id": draft.enrollment_id,
            "step_number": draft.step_number,
            "channel": draft.channel,
            "source": draft.source,
            "status": DraftStatus.WAITING if draft.decided_at is None else DraftStatus.APPROVED,
            "subject": draft.wording.subject,
            "has_subject": draft.has_subject,
            "body": draft.wording.body,
            "fingerprint": draft.wording.fingerprint.hex(),
            "decided_at": draft.decided_at,
        }
        for id_, draft in zip(ids, drafts, strict=True)
    ]
    session.execute(_STALE, rows_parameter(rows))
    session.execute(_INSERT, rows_parameter(rows))
    return ids


def drop(session: Session, *, steps: Iterable[tuple[UUID, int]]) -> None:
    """Makes the drafts of these steps stale: nothing stands in their place."""
    rows = [{"enrollment_id": enrollment_id, "step_number": number} for enrollment_id, number in steps]
    if rows:
        session.execute(_STALE, rows_parameter(rows))


SAID_BEFORE: Final = """EXISTS (
        SELECT FROM campaign_actions o
        WHERE o.enrollment_id = w.enrollment_id AND o.instance_id = w.instance_id AND o.step_number < w.step_number
          AND o.sent_at IS NOT NULL AND o.linkedin_type IS DISTINCT FROM 'profile_visit'
          AND NOT EXISTS (
              SELECT FROM linkedin_sequences l JOIN campaign_instances c ON c.template_id = l.template_id
              WHERE c.id = o.instance_id AND l.step_number = o.step_number AND o.channel = 'linkedin'
                AND l.message IS NULL
                AND NOT EXISTS (
                    SELECT FROM action_drafts d
                    WHERE d.enrollment_id = o.enrollment_id AND d.step_number = o.step_number
                      AND d.status = 'approved' AND d.source = 'written'
                )
          )
    )"""
"""The condition that a step before that of the row `w` (enrollment_id, instance_id, step_number) has said something to
the person: it was sent, and had words. A step that is gone had some, as far as is known."""

_ADDRESSED = text(f"""
    SELECT w.enrollment_id
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(instance_id uuid, enrollment_id uuid, step_number int)
    WHERE {SAID_BEFORE}
""")


def addressed(session: Session, *, steps: Collection[tuple[UUID, UUID, int]]) -> set[UUID]:
    """Returns the enrollments to which something was said before a step. `steps`: (campaign, enrollment, number)."""
    rows = [
        {"instance_id": campaign_id, "enrollment_id": id_, "step_number": number} for campaign_id, id_, number in steps
    ]
    return set(session.scalars(_ADDRESSED, rows_parameter(rows))) if rows else set()


APPROVED: Final = f"""(
        m.approval IS NOT DISTINCT FROM 'none'
        AND CASE coalesce(i.settings ->> 'approval', 'none')
            WHEN 'none' THEN TRUE
            WHEN 'first_step' THEN {SAID_BEFORE}
            ELSE FALSE END
        AND NOT EXISTS (
            SELECT FROM action_drafts d
            WHERE d.enrollment_id = w.enrollment_id AND d.step_number = w.step_number AND d.status IN ({_LIVE})
              AND d.source = 'written'
              AND (d.body IS DISTINCT FROM b.body OR (d.has_subject AND d.subject IS DISTINCT FROM m.subject))
        )
        OR EXISTS (
            SELECT FROM action_drafts d
            WHERE d.enrollment_id = w.enrollment_id AND d.step_number = w.step_number AND d.status = 'approved'
              AND d.decided_by IS NOT NULL AND d.fingerprint = m.fingerprint AND d.fingerprint = m.approved_fingerprint
        )
    )"""
"""The condition that the words of the message `m` with its body `b`, of the campaign `i` and the step `w` (as above),
may go out as of now: a person has approved them and not changed their mind; or nobody was asked, is asked for this step
now, and nobody has written other words since. Whoever begins to send holds the enrollment."""


# Whose enrollment has ended may come back: words that are gone can't go out, so their draft is stale.
_FORGET = text("""
    WITH old AS MATERIALIZED (
        SELECT d.id, d.status = 'waiting' OR (d.status = 'approved' AND d.step_number > e.current_step) AS could_go
        FROM action_drafts d
        JOIN campaign_enrollments e ON e.instance_id = d.instance_id AND e.id = d.enrollment_id
        WHERE d.body IS NOT NULL AND d.created_at < :before AND coalesce(d.decided_at, d.created_at) < :before
          AND (d.status IN ('rejected', 'stale')
               OR (d.status = 'approved' AND (d.thread_id IS NOT NULL OR d.step_number <= e.current_step))
               OR (e.status NOT IN ('enrolled', 'active', 'paused') AND e.updated_at < :before))
        ORDER BY d.created_at, d.id LIMIT :limit FOR UPDATE OF d SKIP LOCKED FOR SHARE OF e SKIP LOCKED
    )
    UPDATE action_drafts d
    SET body = NULL, subject = NULL, has_subject = FALSE, reason = NULL, cc = '{}',
        status = CASE WHEN old.could_go THEN 'stale' ELSE d.status END, updated_at = now()
    FROM old WHERE d.id = old.id RETURNING d.id
""")


def forget_some(session: Session, *, before: datetime, limit: int) -> int:
    """Deletes the words of up to `limit` drafts that were made and decided before that moment, and will not go out:
    those of steps that are sent or passed, of replies, rejected and stale ones, and those whose enrollment has ended
    before that moment. What was approved stays by its fingerprint. Returns how many."""
    return len(session.execute(_FORGET, {"before": before, "limit": limit}).all())


_MARK = text(f"""
    UPDATE campaign_actions a SET is_unapproved = TRUE
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS w(instance_id uuid, enrollment_id uuid, step_number int, is_first_alone boolean)
    WHERE a.instance_id = w.instance_id AND a.enrollment_id = w.enrollment_id AND a.step_number = w.step_number
      AND a.sent_at IS NOT NULL
      AND NOT (w.is_first_alone AND {SAID_BEFORE})
      AND NOT EXISTS (
          SELECT FROM messages m WHERE m.action_id = a.id AND m.direction = 'out'
            AND (m.approval = 'none' OR m.fingerprint = m.approved_fingerprint)
      )
""")


class SentUnasked(NamedTuple):
    """A step that others report as sent. is_first_alone: its campaign asks for the first step alone."""

    campaign_id: UUID
    enrollment_id: UUID
    step_number: int
    is_first_alone: bool


def mark_unapproved(session: Session, *, sent: Sequence[SentUnasked]) -> None:
    """Marks those of these steps that went out without the approval that their campaign asks for."""
    if sent:
        session.execute(_MARK, rows_parameter([{"instance_id": step.campaign_id, **step._asdict()} for step in sent]))
