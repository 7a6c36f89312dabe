"""Requests of providers: stored before they are parsed, recorded later, and kept so that they can be replayed."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate, islice
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import Session, defer

from db.domain.addresses import addresses_in
from db.domain.events import MOST_AHEAD, EventVerdict, NewEvent, impersonal
from db.domain.field_limits import DELIVERY_ERROR_MAX
from db.domain.ids import new_ids
from db.domain.states import DeliveryStatus
from db.domain.webhooks import NewDelivery, Normalise, Normalised, Settled, StoredDelivery, StoreVerdict
from db.models import WebhookDelivery
from db.postgres.json import rows_parameter
from db.services.erasure import erasure
from db.services.events import events
from db.services.events.record import Outcome
from db.services.paging import Page, cut, page

BODIES_MOST: Final = 1024 * 1024
_LISTING: Final = "deliveries"
_REASONS_SHOWN: Final = 3

_STORE = text("""
    INSERT INTO webhook_deliveries (id, provider, delivery_id, received_at, body, body_hash, status)
    SELECT id, provider, delivery_id, received_at, convert_to(body, 'UTF8'), decode(body_hash, 'hex'), status
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS d(
        id uuid, provider text, delivery_id text, received_at timestamptz, body text, body_hash text, status text)
    ON CONFLICT DO NOTHING
    RETURNING id
""")
_REUSED = text("""
    SELECT g.n FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(n int, provider text, delivery_id text, hash text)
    JOIN webhook_deliveries d ON d.provider = g.provider AND d.delivery_id = g.delivery_id
    WHERE d.body_hash <> decode(g.hash, 'hex')
""")


def store(session: Session, *, deliveries: Sequence[NewDelivery]) -> list[StoreVerdict]:
    """Stores requests, each once. Returns one verdict each, in order."""
    ids = new_ids(len(deliveries))
    rows = [_row(id_, delivery) for id_, delivery in zip(ids, deliveries, strict=True)]
    stored = set(session.execute(_STORE, rows_parameter(rows)).scalars())
    verdicts = [StoreVerdict.STORED if id_ in stored else StoreVerdict.KNOWN for id_ in ids]
    doubtful = [
        {"n": n, "provider": delivery.provider, "delivery_id": delivery.delivery_id, "hash": delivery.body_hash.hex()}
        for n, (delivery, verdict) in enumerate(zip(deliveries, verdicts, strict=True))
        if verdict is StoreVerdict.KNOWN and delivery.delivery_id is not None
    ]
    if doubtful:
        for n in session.execute(_REUSED, rows_parameter(doubtful)).scalars():
            verdicts[n] = StoreVerdict.REUSED
    return verdicts


def _row(id_: UUID, delivery: NewDelivery) -> dict[str, Any]:
    return {
        "id": id_,
        "provider": delivery.provider,
        "delivery_id": delivery.delivery_id,
        "received_at": delivery.received_at,
        "body": delivery.body.decode(),
        "body_hash": delivery.body_hash.hex(),
        "status": delivery.status,
    }


_COLUMNS = "id, provider, delivery_id, received_at, body, body_hash"
_WAITING = text(f"""
    SELECT {_COLUMNS} FROM webhook_deliveries WHERE status = 'waiting'
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
""")
_WAITING_ID = text(f"""
    SELECT {_COLUMNS} FROM webhook_deliveries WHERE id = :id AND status = 'waiting' FOR UPDATE SKIP LOCKED
""")


def next_waiting(session: Session, *, limit: int) -> list[StoredDelivery]:
    """Returns the oldest waiting requests, locked until the transaction ends. Skips those that another worker holds."""
    return [StoredDelivery(*row) for row in session.execute(_WAITING, {"limit": limit})]


def lock_waiting(session: Session, *, delivery_id: UUID) -> list[StoredDelivery]:
    """Returns this request, locked, if it waits and no other worker holds it; otherwise nothing."""
    return [StoredDelivery(*row) for row in session.execute(_WAITING_ID, {"id": delivery_id})]


def next_kept(
    session: Session,
    *,
    provider: str | None,
    since: datetime | None,
    until: datetime | None,
    ids: Sequence[UUID] | None,
    after: UUID | None,
    limit: int,
) -> list[StoredDelivery]:
    """Returns requests whose body is kept, oldest first, in any status, locked. Leaves out those held for an operator,
    because they hold no events."""
    row = WebhookDelivery
    statement = select(row.id, row.provider, row.delivery_id, row.received_at, row.body, row.body_hash)
    statement = statement.where(row.body.is_not(None), row.status != DeliveryStatus.HELD)
    if provider is not None:
        statement = statement.where(row.provider == provider)
    if since is not None:
        statement = statement.where(row.received_at >= since)
    if until is not None:
        statement = statement.where(row.received_at < until)
    if ids is not None:
        statement = statement.where(row.id.in_(ids))
    if after is not None:
        statement = statement.where(row.id > after)
    found = session.execute(statement.order_by(row.id).limit(limit).with_for_update()).all()
    return [
        StoredDelivery(id_, of, delivery_id, received_at, body, body_hash)
        for id_, of, delivery_id, received_at, body, body_hash in found
        if body is not None
    ]


def record(
    session: Session, *, deliveries: Sequence[StoredDelivery], normalise: Normalise, now: datetime
) -> list[Settled]:
    """Records the events of these requests, which the caller has locked, and the result of each.

    Recording a request again counts nothing twice. A refused event counts as invalid and does not hinder the others.
    """
    parts = [normalise(delivery) for delivery in deliveries]
    erased = _erased(session, deliveries)
    for delivery, part in zip(deliveries, parts, strict=True):
        _make_impersonal(part, erased[delivery.id])
        for event in part.events:
            if event.occurred_at > delivery.received_at + MOST_AHEAD:
                event.occurred_at = delivery.received_at  # a clock that is wrong
    every_event = [event for part in parts for event in part.events]
    outcomes = iter(events.record_events(session, events=every_event, from_provider=True))
    settled = [
        _settled(delivery, part, list(islice(outcomes, len(part.events))), is_erased=bool(erased[delivery.id]))
        for delivery, part in zip(deliveries, parts, strict=True)
    ]
    settle(session, settled=settled, now=now)
    return settled


def give_up(session: Session, *, delivery: StoredDelivery, reason: str, now: datetime) -> None:
    """Marks a request as failed because it broke its normaliser. `reason` holds nothing from the request."""
    erased = _erased(session, [delivery])
    failed = Settled(delivery.id, DeliveryStatus.FAILED, error=reason, mentions_erased=bool(erased[delivery.id]))
    settle(session, settled=[failed], now=now)


def _erased(session: Session, deliveries: Sequence[StoredDelivery]) -> dict[UUID, set[str]]:
    """Returns the addresses that each request mentions whose owners were erased."""
    mentioned = {delivery.id: addresses_in(delivery.body.decode(errors="replace")) for delivery in deliveries}
    everybody = set[str]().union(*mentioned.values())
    erased = erasure.erased_among(session, addresses=everybody) if everybody else set[str]()
    return {id_: addresses & erased for id_, addresses in mentioned.items()}


def _make_impersonal(part: Normalised, erased: set[str]) -> None:
    """Removes personal data from late events of erased people. They still count, unless only the address could place
    them."""
    if not erased:
        return
    kept: list[NewEvent] = []
    for event in part.events:
        if event.email in erased:
            event.email = None
        if addresses_in(str(event.metadata)) & erased:
            event.metadata = impersonal(event.metadata)
        if event.has_reference or event.email:
            kept.append(event)
        else:
            part.ignored += 1
    part.events = kept


def _settled(delivery: StoredDelivery, part: Normalised, outcomes: list[Outcome], *, is_erased: bool) -> Settled:
    count = Counter(outcome.verdict for outcome in outcomes)
    refused = [outcome.reason or "" for outcome in outcomes if outcome.verdict is EventVerdict.INVALID]
    reasons = [*part.invalid, *refused]
    is_failed = bool(reasons) and len(reasons) == len(part.invalid) + len(outcomes) and not part.ignored
    return Settled(
        delivery.id,
        DeliveryStatus.FAILED if is_failed else DeliveryStatus.RECORDED,
        recorded=count[EventVerdict.RECORDED],
        duplicate=count[EventVerdict.DUPLICATE],
        orphaned=count[EventVerdict.ORPHANED],
        invalid=len(reasons),
        ignored=part.ignored,
        error=_error(reasons),
        mentions_erased=is_erased,
    )


def _error(reasons: Sequence[str]) -> str | None:
    """Returns the first reasons, and how many more there are."""
    if not reasons:
        return None
    shown = "; ".join(dict.fromkeys(reasons[:_REASONS_SHOWN]))
    more = f"; and {len(reasons) - _REASONS_SHOWN} more" if len(reasons) > _REASONS_SHOWN else ""
    return shown[: DELIVERY_ERROR_MAX - len(more)] + more


_SETTLE = text("""
    UPDATE webhook_deliveries d
    SET status = s.status, error = s.error, recorded_at = CASE WHEN s.status = 'recorded' THEN CAST(:now AS timestamptz)
                                                               ELSE d.recorded_at END,
        events_recorded = d.events_recorded + s.recorded,
        events_duplicate = CASE WHEN d.recorded_at IS NULL THEN s.duplicate ELSE d.events_duplicate END,
        events_orphaned = CASE WHEN d.recorded_at IS NULL THEN s.orphaned ELSE d.events_orphaned + s.orphaned END,
        events_invalid = s.invalid, events_ignored = s.ignored,
        body = CASE WHEN s.mentions_erased THEN NULL ELSE d.body END, updated_at = now()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS s(
        id uuid, status text, recorded int, duplicate int, orphaned int, invalid int, ignored int, error text,
        mentions_erased bool)
    WHERE d.id = s.id
""")


def settle(session: Session, *, settled: Sequence[Settled], now: datetime) -> None:
    """Stores the results of requests. A repeated one adds what is new."""
    rows = [{name: getattr(result, name) for name in Settled.__slots__} for result in settled]
    session.execute(_SETTLE, {**rows_parameter(rows), "now": now})


_FORGET = text("""
    UPDATE webhook_deliveries SET body = NULL, updated_at = now()
    WHERE id = ANY (ARRAY(
        SELECT id FROM webhook_deliveries WHERE body IS NOT NULL AND status <> 'waiting' AND received_at < :before
        ORDER BY received_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING id
""")


def forget_some(session: Session, *, before: datetime, limit: int) -> int:
    """Deletes the bodies of up to `limit` requests that came before that moment and wait for nothing. The rows stay, so
    that a repetition is recognised; they can't be replayed."""
    return len(session.execute(_FORGET, {"before": before, "limit": limit}).all())


class Body(NamedTuple):
    """The part of a body that is shown, and its size in bytes."""

    shown: bytes
    size: int


_SIZES = text("SELECT id, octet_length(body) AS size FROM webhook_deliveries WHERE id = ANY(:ids) AND body IS NOT NULL")
_BODIES = text("""
    SELECT id, substring(body FROM 1 FOR :most), octet_length(body) FROM webhook_deliveries
    WHERE id = ANY(:ids) AND body IS NOT NULL
""")


def list_(
    session: Session,
    *,
    provider: str | None,
    status: DeliveryStatus | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    cursor: str | None,
    with_bodies: bool = False,
) -> tuple[Page[WebhookDelivery], dict[UUID, Body]]:
    """Returns requests, latest first, and the bodies of those that have one. `since` and `until` are times of arrival.

    The rows come without their bodies. A page holds BODIES_MOST bytes of bodies: it ends before one that does not fit,
    and a larger single one is cut.
    """
    row = WebhookDelivery
    statement = select(row).options(defer(row.body, raiseload=True), defer(row.body_hash, raiseload=True))
    if provider is not None:
        statement = statement.where(row.provider == provider)
    if status is not None:
        # Written out, because a plan for any status could not use the index of requests that were not recorded.
        statement = statement.where(row.status == bindparam("status", status, literal_execute=True))
    if since is not None:
        statement = statement.where(row.received_at >= since)
    if until is not None:
        statement = statement.where(row.received_at < until)
    by = [row.received_at, row.id] if provider is not None else [row.id]
    found = page(session, statement, by=by, limit=limit, cursor=cursor, listing=_LISTING)
    if not with_bodies:
        return found, {}
    count = _fitting(session, found.rows)
    if count < len(found.rows):
        found = cut(found.rows, count, by=by, listing=_LISTING)
    values = {"ids": [row.id for row in found.rows], "most": BODIES_MOST}
    return found, {id_: Body(shown, size) for id_, shown, size in session.execute(_BODIES, values)}


def _fitting(session: Session, rows: Sequence[WebhookDelivery]) -> int:
    """Returns how many bodies from the start fit into one page; at least one."""
    sizes = {row.id: row.size for row in session.execute(_SIZES, {"ids": [row.id for row in rows]})}
    totals = accumulate(sizes.get(row.id, 0) for row in rows)
    return max(1, sum(total <= BODIES_MOST for total in totals))
