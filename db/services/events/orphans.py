"""Orphans: events that arrived before their enrollment, and how they are matched later."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, delete, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from db.domain.events import EFFECTS, BounceType, EventType, EventVerdict, NewEvent
from db.domain.ids import new_ids
from db.domain.states import Channel, OrphanStatus
from db.models import OrphanedEvent
from db.postgres.json import rows_parameter, to_text
from db.services.events.record import Outcome, record
from db.services.paging import Page, page
from db.services.people import opt_outs

# In order of identity, so that two calls with the same events wait for each other instead of deadlocking; and each
# once, because one statement can't update a row twice.
_PARK = text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS o(
            id uuid, reason text, event_type text, channel text, occurred_at timestamptz, enrollment_id uuid,
            provider_message_id text, campaign_id uuid, email text, step_number int, provider text,
            provider_event_id text, metadata jsonb, from_provider bool)
    )
    INSERT INTO orphaned_events (id, reason, event_type, channel, occurred_at, enrollment_id, provider_message_id,
                                 campaign_id, email, step_number, provider, provider_event_id, metadata, from_provider)
    SELECT DISTINCT ON (provider, provider_event_id, CASE WHEN provider_event_id IS NULL THEN id END)
           id, reason, event_type, channel, occurred_at, enrollment_id, provider_message_id,
           campaign_id, email, step_number, provider, provider_event_id, metadata, from_provider
    FROM given
    WHERE NOT EXISTS (
        SELECT FROM campaign_events e
        WHERE e.provider_event_id = given.provider_event_id AND e.provider IS NOT DISTINCT FROM given.provider
    )
    ORDER BY provider, provider_event_id, CASE WHEN provider_event_id IS NULL THEN id END, id
    ON CONFLICT (provider, provider_event_id) WHERE provider_event_id IS NOT NULL DO UPDATE
    SET id = excluded.id, status = 'waiting', expired_at = NULL, created_at = excluded.created_at,
        reason = excluded.reason, event_type = excluded.event_type, channel = excluded.channel,
        occurred_at = excluded.occurred_at, enrollment_id = excluded.enrollment_id,
        provider_message_id = excluded.provider_message_id, campaign_id = excluded.campaign_id,
        email = excluded.email, step_number = excluded.step_number, metadata = excluded.metadata,
        from_provider = excluded.from_provider
    WHERE orphaned_events.status = 'expired'
    RETURNING id
""")


def park(session: Session, *, events: Sequence[NewEvent]) -> list[Outcome]:
    """Stores events of unknown enrollments until they match. One that waits already, or was recorded, is a duplicate.
    One that has expired waits again. One without a reference is not kept, since it can never match."""
    if not events:
        return []
    ids = new_ids(len(events))
    reasons = [_reason(event) for event in events]
    values = [
        {"id": id_, "reason": reason, **_fields(event)}
        for id_, reason, event in zip(ids, reasons, events, strict=True)
        if event.has_reference
    ]
    kept = set(session.execute(_PARK, rows_parameter(values)).scalars())
    return [
        Outcome(EventVerdict.ORPHANED, reason=reason)
        if id_ in kept or not event.has_reference
        else Outcome(EventVerdict.DUPLICATE)
        for id_, reason, event in zip(ids, reasons, events, strict=True)
    ]


def list_(
    session: Session,
    *,
    provider: str | None,
    status: OrphanStatus | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    cursor: str | None,
) -> Page[OrphanedEvent]:
    """Returns orphans, latest first. `since` and `until` are times of arrival."""
    statement = select(OrphanedEvent)
    if provider is not None:
        statement = statement.where(OrphanedEvent.provider == provider)
    if status is not None:
        statement = statement.where(OrphanedEvent.status == status)
    if since is not None:
        statement = statement.where(OrphanedEvent.created_at >= since)
    if until is not None:
        statement = statement.where(OrphanedEvent.created_at < until)
    return page(session, statement, by=[OrphanedEvent.id], limit=limit, cursor=cursor, listing="orphans")


# Matches by the present or an earlier address of a person, as db.services.events.find does.
_IS_ENROLLED = """
    EXISTS (
        SELECT 1 FROM contacts c JOIN campaign_enrollments e ON e.contact_id = c.id
        WHERE lower(c.email) = {event}.email AND e.instance_id = {event}.campaign_id
        UNION ALL
        SELECT 1 FROM contact_addresses a JOIN campaign_enrollments e ON e.contact_id = a.contact_id
        WHERE a.address = {event}.email AND e.instance_id = {event}.campaign_id
    )
"""


def match_campaign(session: Session, *, campaign_id: UUID) -> int:
    """Records the events that wait for people of this campaign who are enrolled by now. Returns how many."""
    condition = and_(OrphanedEvent.campaign_id == campaign_id, text(_IS_ENROLLED.format(event="orphaned_events")))
    return _match(session, condition)


# An earlier address identifies this person only if nobody else has it or had it.
_STOPPING = text(f"""
    SELECT c.id, max(o.occurred_at) FILTER (WHERE o.event_type <> '{EventType.BOUNCED}'),
           bool_or(o.event_type = '{EventType.BOUNCED}')
    FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS n(id)
    JOIN contacts c ON c.id = CAST(n.id AS uuid)
    CROSS JOIN LATERAL (
        SELECT lower(c.email) AS email
        UNION
        SELECT address FROM contact_addresses a WHERE contact_id = c.id
            AND NOT EXISTS (SELECT FROM contacts WHERE lower(email) = a.address)
            AND NOT EXISTS (SELECT FROM contact_addresses WHERE address = a.address AND contact_id <> c.id)
    ) theirs
    JOIN orphaned_events o ON o.campaign_id = :campaign AND o.email = theirs.email AND o.status = 'waiting'
    WHERE o.event_type IN ({", ".join(f"'{type_}'" for type_, effect in EFFECTS.items() if effect.suppresses)})
      AND (o.event_type <> '{EventType.BOUNCED}'
           OR (o.metadata ->> 'bounce_type' IS DISTINCT FROM '{BounceType.SOFT}'
               AND NOT EXISTS (SELECT FROM consents k WHERE k.address = o.email AND o.occurred_at < k.works_at)))
    GROUP BY c.id
""")


def stopping(session: Session, *, campaign_id: UUID, contact_ids: Sequence[UUID]) -> Sequence[UUID]:
    """Returns the people for whom an event waits that would stop them in this campaign as soon as they are enrolled:
    a wish that is not older than their new consent, or a bounce that nobody has lifted since."""
    if not contact_ids:
        return []
    waiting = session.execute(_STOPPING, {**rows_parameter(list(contact_ids)), "campaign": campaign_id}).all()
    consents = opt_outs.consents_of(session, contact_ids=[contact_id for contact_id, *_ in waiting])
    return [
        id_
        for id_, wished_at, is_bounced in waiting
        if is_bounced or (wished_at is not None and not (id_ in consents and wished_at < consents[id_]))
    ]


def match_messages(session: Session, *, message_ids: Sequence[str]) -> int:
    """Records the events that wait for these message ids, whose actions are known now. Returns how many."""
    return _match(session, _about_messages(message_ids)) if message_ids else 0


# Whether anything that a waiting event refers to is known by now.
_FITS_BY_NOW = text(f"""
    SELECT o.id,
        EXISTS (SELECT FROM campaign_enrollments e WHERE e.id = o.enrollment_id)
        OR EXISTS (SELECT FROM campaign_actions a WHERE a.provider_message_id = o.provider_message_id)
        OR EXISTS (SELECT FROM campaign_messages m WHERE m.provider_message_id = o.provider_message_id)
        OR {_IS_ENROLLED.format(event="o")}
    FROM (
        SELECT * FROM orphaned_events WHERE status = 'waiting' AND id > :after ORDER BY id LIMIT :limit
    ) o
    ORDER BY o.id
""")


def match_some(session: Session, *, after: UUID, limit: int) -> tuple[int, UUID | None]:
    """Checks up to `limit` waiting events in order of arrival, from the one after `after` on, and records those that
    match by now.

    Returns how many were recorded, and the last one checked; None if that was the last of all.
    """
    looked_at = session.execute(_FITS_BY_NOW, {"after": after, "limit": limit}).all()
    fitting = [id_ for id_, fits in looked_at if fits]
    recorded = _match(session, OrphanedEvent.id.in_(fitting)) if fitting else 0
    return recorded, looked_at[-1].id if len(looked_at) == limit else None


_EXPIRE = text("""
    UPDATE orphaned_events SET status = 'expired', expired_at = :now
    WHERE id = ANY (ARRAY(
        SELECT id FROM orphaned_events WHERE status = 'waiting' AND created_at < :before
        ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING coalesce(provider, 'none')
""")


def expire_some(session: Session, *, before: datetime, now: datetime, limit: int) -> Counter[str]:
    """Expires up to `limit` events that have waited since before that moment. Returns provider -> how many. They can be
    looked at until `delete_some` deletes them."""
    return Counter(session.scalars(_EXPIRE, {"before": before, "now": now, "limit": limit}))


# Rows that were expired by hand in SQL have no moment: they count from their arrival.
_DELETE = text("""
    DELETE FROM orphaned_events
    WHERE id = ANY (ARRAY(
        SELECT id FROM orphaned_events WHERE status = 'expired' AND coalesce(expired_at, created_at) < :before
        ORDER BY coalesce(expired_at, created_at) LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING id
""")


def delete_some(session: Session, *, before: datetime, limit: int) -> int:
    """Deletes up to `limit` events that expired before that moment."""
    return len(session.execute(_DELETE, {"before": before, "limit": limit}).all())


def _match(session: Session, condition: ColumnElement[bool]) -> int:
    """Records in rounds until nothing more matches, since each recorded event can reveal further message ids."""
    recorded = 0
    while True:
        statement = select(OrphanedEvent).where(OrphanedEvent.status == OrphanStatus.WAITING, condition)
        waiting = session.scalars(statement.order_by(OrphanedEvent.id).with_for_update()).all()
        if not waiting:
            return recorded
        events = [_event(orphan) for orphan in waiting]
        result = record(session, events=events)
        verdicts = [outcome.verdict if outcome else None for outcome in result.outcomes]
        # A refused event, say for its step, stays for a person to look at. One that is of another address
        # than the person's was heard when it came, and fits nobody.
        done = {EventVerdict.RECORDED, EventVerdict.DUPLICATE}
        settled = [
            orphan.id
            for orphan, event, verdict in zip(waiting, events, verdicts, strict=True)
            if verdict in done or not event.has_reference
        ]
        session.execute(delete(OrphanedEvent).where(OrphanedEvent.id.in_(settled)))
        recorded += verdicts.count(EventVerdict.RECORDED)
        if not result.awaited:
            return recorded
        condition = _about_messages(result.awaited)


def _about_messages(message_ids: Sequence[str]) -> ColumnElement[bool]:
    given = func.jsonb_array_elements_text(cast(cast(to_text(message_ids), Text), JSONB))
    return OrphanedEvent.provider_message_id.in_(select(given))


def _reason(event: NewEvent) -> str:
    if event.enrollment_id is not None:
        missing = f"no enrollment {event.enrollment_id} yet"
    elif event.provider_message_id is not None:
        missing = "nobody is known to have this provider_message_id yet"
    elif event.campaign_id is not None:
        missing = f"nobody with this email is enrolled in campaign {event.campaign_id} yet"
    else:
        missing = "nothing says of which campaign it is"
    return f"{missing}; the address is suppressed" if event.email and event.suppresses else missing


def _fields(event: NewEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in NewEvent.__slots__}


def _event(orphan: OrphanedEvent) -> NewEvent:
    return NewEvent(
        event_type=EventType(orphan.event_type),
        channel=Channel(orphan.channel),
        occurred_at=orphan.occurred_at,
        enrollment_id=orphan.enrollment_id,
        provider_message_id=orphan.provider_message_id,
        campaign_id=orphan.campaign_id,
        email=orphan.email,
        step_number=orphan.step_number,
        provider=orphan.provider,
        provider_event_id=orphan.provider_event_id,
        metadata=orphan.details,
        from_provider=orphan.from_provider,
    )
