"""Hands out due steps under a lease: to agents, and to the server's own sender of a mailbox.

A claim moves the enrollment's next_action_at to the end of the lease. The index of due enrollments therefore covers
leases without reading actions, and a step whose holder died falls due again by itself. The unique key of
campaign_actions and the lock on the enrollment ensure that a step is handed out to one holder at a time.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.aside import Aside, Fate, SetAside
from db.domain.errors import NotFound, Refused
from db.domain.holds import Hold
from db.domain.scheduling import Plan
from db.domain.states import CampaignStatus, Channel, EnrollmentStatus
from db.domain.streams import DueStream
from db.services.campaigns import campaigns, plans
from db.services.dispatch import drafting, due_queue, due_streams, limits
from db.services.dispatch.hand_out import DueAction, HandOut
from db.services.mail import mailboxes, pools
from db.services.state import conversation_rows, counters, pauses, usage
from db.services.texts import unsubscribe_links

__all__ = ["Claim", "DueAction", "claim", "claim_for_mailbox"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What was handed out; if nothing was, when the next step falls due; and what was set aside meanwhile."""

    actions: list[DueAction]
    next_due_at: datetime | None
    set_aside: list[SetAside]
    is_more: bool = False
    """Nothing was handed out, and more is due: so many were set aside that the caller had better come back at once."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What a claim asks for. mailbox_id: the mailbox that the server sends from; None for claims of agents."""

    limit: int
    now: datetime
    lease_seconds: int
    public_url: str | None
    mailbox_id: UUID | None = None


# Each round settles at least one enrollment for good. This many rounds without a step to hand out mean a long run of
# people who may not be written to; the caller comes back for the rest.
_ROUNDS = 20
# Where steps were skipped alone, more are looked at together in the next round, up to so many.
_SKIPPED_MOST = 500


def claim(
    session: Session,
    *,
    campaign_id: UUID | None,
    channel: Channel | None,
    limit: int,
    lease_seconds: int,
    now: datetime,
    public_url: str | None = None,
) -> Claim:
    """Hands out up to `limit` due steps of active campaigns, the one due longest first, for `lease_seconds`. Those that
    the server sends itself are passed over: see Sending.is_sent_by_server.

    An enrollment whose person is suppressed is stopped instead. One whose text lacks a variable, is empty or too long
    is paused, with the reason in the action's `error`. `public_url`: see Texts.of_campaigns.
    """
    ended = pauses.end(session, now=now, campaign_id=campaign_id)
    running, unreadable = _sorted_out(_running(session, campaign_id))
    streams = due_streams.of_agents(session, plans=running, channel=channel)
    order = _Order(limit, now, lease_seconds, public_url)
    return _Claiming(session, order, running, streams, running).claim(ended, unreadable)


def claim_for_mailbox(
    session: Session,
    *,
    mailbox_id: UUID,
    limit: int,
    lease_seconds: int,
    now: datetime,
    public_url: str | None = None,
    include_overdue: bool = False,
) -> Claim:
    """Hands out up to `limit` due emails that the server sends from a mailbox, by the rules of `claim`: those to its
    people, and first ones to people who have no mailbox yet and get this one. `next_due_at`: when to look again.

    include_overdue: even what was long due when the server began to send, as with the setting of that name. NotFound
    if there is no such mailbox.
    """
    address = mailboxes.find(session, mailbox=mailbox_id).address
    ended = pauses.end(session, now=now)
    running, unreadable = _sorted_out(plans.of_active(session))
    if include_overdue:
        running = {
            id_: replace(plan, sending=replace(plan.sending, include_overdue=True)) for id_, plan in running.items()
        }
    streams = due_streams.of_mailbox(session, plans=running, mailbox_id=mailbox_id, address=address, now=now)
    concerned = {stream.campaign_id: running[stream.campaign_id] for stream in streams}
    order = _Order(limit, now, lease_seconds, public_url, mailbox_id)
    drafted = {id_: plan for id_, plan in running.items() if address in plan.sending.mailboxes}
    claimed = _Claiming(session, order, concerned, streams, drafted).claim(ended, unreadable)
    served = {id_: plan for id_, plan in running.items() if _is_served(plan, address)}
    plans.note_served(session, plans=served, until=max(now, claimed.next_due_at or now), now=now)
    return claimed


def _is_served(plan: Plan, address: str) -> bool:
    """Returns whether the server sends emails of a campaign from that mailbox."""
    return address in plan.sending.mailboxes and plan.sending.is_sent_by_server(Channel.EMAIL)


def _running(session: Session, campaign_id: UUID | None) -> dict[UUID, Plan]:
    """Returns the plans of the active campaigns, or of the one that is asked for."""
    if campaign_id is None:
        return plans.of_active(session)
    found = plans.with_status(session, campaign_id=campaign_id)
    if found is None:
        raise NotFound("campaign", campaign_id)
    status, plan = found
    if status in (CampaignStatus.COMPLETED, CampaignStatus.FAILED):
        raise Refused(f"This campaign is {status} for good, so nothing of it is due. {holds.ANEW}")
    if status is not CampaignStatus.ACTIVE:
        why = campaigns.get(session, campaign_id=campaign_id).pause_reason
        told = why or "start_campaign makes it active."
        raise Refused(f"This campaign is {status}, so nothing of it is due. {told}")
    return {campaign_id: plan}


def _sorted_out(running: Mapping[UUID, Plan]) -> tuple[dict[UUID, Plan], dict[UUID, str]]:
    """Returns the campaigns that can be read, and what is wrong with the others."""
    unreadable = {id_: plan.problem for id_, plan in running.items() if plan.problem is not None}
    return {id_: plan for id_, plan in running.items() if id_ not in unreadable}, unreadable


class _Claiming:
    """One claim: its streams, and the holds on the campaigns that they belong to. drafted: the campaigns whose next
    words are drafted with it."""

    def __init__(
        self,
        session: Session,
        order: _Order,
        running: Mapping[UUID, Plan],
        streams: Sequence[DueStream],
        drafted: Mapping[UUID, Plan],
    ) -> None:
        self.session = session
        self.order = order
        self.running = running
        self.streams = streams
        self.pools = limits.pools_of(session, plans=running, streams=streams, asking=order.mailbox_id)
        self.drafted = drafted
        self.is_more = False
        self.held: Mapping[UUID, Sequence[Hold]] = {
            id_: holds.of_campaign(CampaignStatus.ACTIVE, plan.sending, order.now) for id_, plan in running.items()
        }

    def claim(self, ended: Counter[tuple[UUID, EnrollmentStatus]], unreadable: dict[UUID, str]) -> Claim:
        """Hands out what is due, and counts it."""
        work = self._begin(ended, unreadable)
        handed = self._hand_out(work)
        # Not before: who waits for somebody of this claim is due for the next one, in the order of the queue.
        is_woken = conversation_rows.wake(self.session, contact_ids=work.freed)
        if is_woken and not handed and self.order.mailbox_id is None:  # an agent takes nothing for the end
            work.freed.clear()
            handed = self._hand_out(work)
            is_woken |= conversation_rows.wake(self.session, contact_ids=work.freed)
        self.is_more = not handed and (self.is_more or is_woken)
        work.aside.add(
            drafting.draft_ahead(self.session, plans=self.drafted, now=self.order.now, public_url=self.order.public_url)
        )
        usage.save(self.session, work.allowances)
        senders = {due.sender for due in handed if due.sender is not None}
        pools.note_first(self.session, pools=self.pools, addresses=senders, now=self.order.now)
        counters.add_statuses(self.session, ended)
        campaigns.pause_unreadable(self.session, reasons=unreadable, now=self.order.now)
        _tell_unreadable(work.aside, unreadable)
        return Claim(handed, None if handed else self._next_due(), work.aside.told(), self.is_more)

    def _begin(self, ended: Counter[tuple[UUID, EnrollmentStatus]], unreadable: dict[UUID, str]) -> HandOut:
        """Locks the limits of the streams that are open and have something due."""
        order, session = self.order, self.session
        streams = self._with_due([stream for stream in self.streams if not self._closed(stream)])
        concerned = {stream.campaign_id: self.running[stream.campaign_id] for stream in streams}
        has_links = order.public_url is not None or self.pools.are_read
        key = unsubscribe_links.make_key(session) if streams and has_links else None
        return HandOut(
            streams=streams,
            allowances=limits.of_streams(
                session,
                plans=concerned,
                streams=streams,
                known=self.pools,
                now=order.now,
                lock=True,
                limit=order.limit,
            ),
            ended=ended,
            unreadable=unreadable,
            until=order.now + timedelta(seconds=order.lease_seconds),
            now=order.now,
            public_url=order.public_url,
            unsubscribe_key=key,
        )

    def _hand_out(self, work: HandOut) -> list[DueAction]:
        claimed: list[DueAction] = []
        wide = 0
        for _ in range(_ROUNDS):
            work.streams = [stream for stream in work.streams if stream.campaign_id not in work.unreadable]
            work.room = self.order.limit - len(claimed)
            front = due_queue.front(
                self.session,
                streams=work.streams,
                allowances=work.allowances,
                limit=max(work.room + len(work.stuck), wide),
                now=self.order.now,
                take=True,
            )
            found = [enrollment for enrollment in front if enrollment.id not in work.stuck]
            if not found:
                return claimed
            skipped = work.skipped
            claimed += work.settle_sound(self.session, found)
            if len(claimed) == self.order.limit:
                return claimed
            wide = min(_SKIPPED_MOST, 2 * len(found)) if work.skipped - skipped == len(found) else 0
        self.is_more = not claimed
        return claimed

    def _closed(self, stream: DueStream) -> bool:
        """Returns whether something that ends by time holds all of the stream, apart from limits."""
        plan = self.running[stream.campaign_id]
        return bool(self.held[stream.campaign_id] or stream.closed(plan, self.pools, self.order.now))

    def _with_due(self, streams: Sequence[DueStream]) -> Sequence[DueStream]:
        """Returns the streams that have something due if limits must be locked, so that a claim does not wait for the
        limits of a campaign that has nothing to hand out; otherwise all of them."""
        if not any(self.running[stream.campaign_id].sending.may_be_limited for stream in streams):
            return streams
        earliest = due_queue.earliest(self.session, streams=streams)
        return [stream for stream, moment in earliest.items() if moment <= self.order.now]

    def _next_due(self) -> datetime | None:
        """Returns when the first step of the streams can be handed out, as far as that depends on time alone."""
        now, moments = self.order.now, list[datetime]()
        # Includes the limits of streams that have nothing due or are closed now; the claim need not lock those.
        allowances = limits.of_streams(
            self.session, plans=self.running, streams=self.streams, known=self.pools, now=now, lock=False
        )
        waits = due_queue.waits(self.session, streams=self.streams, allowances=allowances, now=now)
        for stream, held in waits.items():
            obstacles = [*self.held[stream.campaign_id], *held]
            moment = holds.can_move_at(obstacles, stream.calendars(allowances), now)
            if moment is not None:
                moments.append(moment)
        return min(moments, default=None)


def _tell_unreadable(aside: Aside, unreadable: Mapping[UUID, str]) -> None:
    aside.add((Fate.CAMPAIGN_PAUSED, hold) for problem in unreadable.values() for hold in holds.of_problem(problem))
