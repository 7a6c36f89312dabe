"""Events: recorded in batches, listed, and put aside while their enrollment is unknown."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.domain.addresses import addresses_in
from db.domain.contacts import CONSENT
from db.domain.errors import NotFound
from db.domain.events import EventType, EventVerdict, NewEvent, impersonal
from db.domain.states import SuppressionReason
from db.models import CampaignEnrollment, CampaignEvent, CampaignInstance, Contact
from db.services.erasure import erasure
from db.services.events import orphans
from db.services.events.record import Known, Outcome, record, record_known
from db.services.paging import Page, page
from db.services.people import opt_outs, suppressions


def record_events(
    session: Session, *, events: Sequence[NewEvent], from_provider: bool = False, source: str = "event"
) -> list[Outcome]:
    """Records events and all that they imply. Returns one outcome each, in order.

    The result does not depend on order, repetitions or the number of processes. An event of a provider counts once. An
    event whose enrollment is unknown waits in orphaned_events and is matched later; if it ends all writing to its
    person, its address is suppressed at once. `from_provider`: a provider reports it, see NewEvent. `source`: the
    source of a suppression that follows.
    """
    for event in events:
        event.from_provider = from_provider
    result = record(session, events=events, source=source)
    lost = [index for index, outcome in enumerate(result.outcomes) if outcome is None]
    _forget_erased(session, [events[index] for index in lost])
    parked = dict(zip(lost, orphans.park(session, events=[events[index] for index in lost]), strict=True))
    # An event that waited before was applied then, and its suppression may have been lifted since.
    new = [events[index] for index, outcome in parked.items() if outcome.verdict is EventVerdict.ORPHANED]
    _suppress_lost(session, new)
    # Matches events that wait, from before and from earlier in this call, for the message.
    awaited = {events[index].provider_message_id for index in lost} & result.known | {*result.awaited}
    orphans.match_messages(session, message_ids=sorted(filter(None, awaited)))
    return [parked[index] if outcome is None else outcome for index, outcome in enumerate(result.outcomes)]


def _forget_erased(session: Session, events: Sequence[NewEvent]) -> None:
    """Removes personal data from events about erased people that wait, and drops those that no other reference can
    match."""
    mentioned = {id(event): addresses_in(str(event.metadata)) | {event.email or ""} - {""} for event in events}
    everybody = set[str]().union(*mentioned.values())
    erased = erasure.erased_among(session, addresses=everybody) if everybody else set[str]()
    for event in events:
        if mentioned[id(event)] & erased:
            event.email = None if event.email in erased else event.email
            event.metadata = impersonal(event.metadata)


def _suppress_lost(session: Session, events: Iterable[NewEvent]) -> None:
    """Suppresses the addresses that want no more mail, or can't receive it, also if the mail is not known here."""
    stops: dict[tuple[str, str], datetime] = {}
    for event in events:
        if event.email and event.stop and event.suppresses:
            key = (event.email, event.stop.reason)
            stops[key] = max(stops.get(key, event.occurred_at), event.occurred_at)
    bounced = [email for email, reason in stops if reason not in CONSENT]
    working = opt_outs.working_since(session, addresses=bounced)
    for (email, reason), occurred_at in sorted(stops.items()):
        lifted = opt_outs.consent_of(session, address=email) if reason in CONSENT else working.get(email)
        if lifted is not None and occurred_at < lifted:
            continue  # a later consent stands, or what a hand did since
        suppressions.suppress_person(session, email=email, reason=SuppressionReason(reason), source="event")


def record_own(session: Session, *, known: Sequence[Known]) -> None:
    """Records what the server itself did with actions: see record.record_known."""
    result = record_known(session, known=known)
    for outcome in result.outcomes:
        assert outcome is not None, "the enrollment was given"
        assert outcome.verdict is EventVerdict.RECORDED, outcome.reason
    orphans.match_messages(session, message_ids=result.awaited)


def list_(
    session: Session,
    *,
    campaign_id: UUID,
    enrollment_id: UUID | None,
    event_type: EventType | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    cursor: str | None,
) -> Page[CampaignEvent]:
    """Returns the events of a campaign, latest first: by when they happened if a filter is given, else by when they
    came in."""
    if session.get(CampaignInstance, campaign_id) is None:
        raise NotFound("campaign", campaign_id)
    statement = select(CampaignEvent).where(CampaignEvent.campaign_id == campaign_id)
    if enrollment_id is not None:
        statement = statement.where(CampaignEvent.enrollment_id == enrollment_id)
    if event_type is not None:
        statement = statement.where(CampaignEvent.event_type == event_type)
    if since is not None:
        statement = statement.where(CampaignEvent.occurred_at >= since)
    if until is not None:
        statement = statement.where(CampaignEvent.occurred_at < until)
    is_filtered = any(filter_ is not None for filter_ in (enrollment_id, event_type, since, until))
    by = [CampaignEvent.occurred_at, CampaignEvent.id] if is_filtered else [CampaignEvent.id]
    return page(session, statement, by=by, limit=limit, cursor=cursor, listing="events")


def people_of(session: Session, *, campaign_id: UUID, events: Sequence[CampaignEvent]) -> Mapping[UUID, Contact]:
    """Returns enrollment -> its person, as they are known now, for events of this campaign."""
    wanted = sorted({event.enrollment_id for event in events})
    rows = session.execute(
        select(CampaignEnrollment.id, Contact)
        .join(Contact, Contact.id == CampaignEnrollment.contact_id)
        .where(CampaignEnrollment.campaign_id == campaign_id, CampaignEnrollment.id.in_(wanted))
    )
    return {row.id: row.Contact for row in rows}
