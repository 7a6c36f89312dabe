"""All that a forecast goes on counting: who waits where, who claims, and what was used of the limits."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from uuid import UUID

from db.domain import holds
from db.domain.allowance import Account, Allowances, Owner
from db.domain.forecast.claimers import Agenda, Claimer
from db.domain.forecast.conversations import Conversations
from db.domain.forecast.counts import Counts
from db.domain.forecast.days import Book, Sheet, word
from db.domain.forecast.people import Queue, Steps, Waiting
from db.domain.holds import Hold
from db.domain.pools import PoolMailbox, Pools, Route
from db.domain.scheduling import Plan, Step
from db.domain.states import CampaignStatus, Channel
from db.domain.streams import DueStream, Partition


@dataclass(slots=True)
class World:
    """plans: active campaigns. mailboxes, of_campaign, people: as in Pools. All of it changes as claims go on."""

    plans: Mapping[UUID, Plan]
    mailboxes: dict[UUID, PoolMailbox]
    of_campaign: Mapping[UUID, Sequence[UUID]]
    people: Counter[tuple[UUID, UUID]]
    counts: Counts
    book: Book
    conversations: Conversations
    before: Mapping[UUID, datetime | None]
    """campaign -> when an email of the server must have been due to be overdue."""
    steps: Steps = field(init=False)
    agenda: Agenda = field(init=False)
    """Of several claimers at one moment mailboxes come by their addresses, and agents last."""
    claimers: dict[UUID | None, Claimer] = field(init=False)
    queues: dict[tuple[UUID, Channel, Partition | None], Queue] = field(init=False)
    claimers_of: dict[Queue, Sequence[Claimer]] = field(init=False)
    queues_of: defaultdict[Sheet, list[Queue]] = field(init=False)
    waiting_turn: defaultdict[UUID, dict[tuple[Claimer, Queue], None]] = field(init=False)
    """campaign -> who waits until another mailbox has taken the next person."""

    def __post_init__(self) -> None:
        self.steps = Steps(self.plans)
        in_order = sorted(self.mailboxes.values(), key=lambda mailbox: mailbox.address)
        self.agenda = Agenda()
        self.claimers = {id_: self.agenda.claimer(id_) for id_ in [*(mailbox.id for mailbox in in_order), None]}
        self.queues, self.claimers_of = {}, {}
        self.queues_of, self.waiting_turn = defaultdict(list), defaultdict(dict)

    def wait(self, person: Waiting, now: datetime) -> Queue | None:
        """Lets somebody wait for the next step, or for the end if none is left. Returns their queue; None if nothing of
        it goes out by itself."""
        queue = self.queue_of(person)
        if queue is None:
            return None
        if person.absent_until is not None and person.absent_until > person.due:
            person.due = person.absent_until
        first = queue.first_due()
        queue.add(person)
        if first is None or person.due < first:  # else it is looked at before
            for claimer in self.claimers_of[queue]:
                claimer.plan(queue, max(person.due, now))
        return queue

    def queue_of(self, person: Waiting) -> Queue | None:
        """Returns where somebody waits; None for who needs another person before anything goes out: also who is long
        overdue for an email of the server."""
        step = self.steps.next(person) or self.steps.last(person.campaign_id)
        if step is None or (step.step_number in person.stops and not person.is_held_by_condition(step)):
            return None
        oldest = self.before[person.campaign_id]
        is_old = oldest is not None and person.due < oldest
        if is_old and self.plans[person.campaign_id].sending.is_sent_by_server(step.channel):
            return None
        return self._queue(person, step)

    def _queue(self, person: Waiting, step: Step) -> Queue:
        sending = self.plans[person.campaign_id].sending
        has_partitions = sending.follows_contact or bool(sending.mailboxes)
        partition = (
            Partition(person.mailbox_id, person.zone if sending.follows_contact else None) if has_partitions else None
        )
        key = person.campaign_id, step.channel, partition
        queue = self.queues.get(key)
        if queue is None:
            stream = DueStream(person.campaign_id, (step.channel,), partition, next_after=())
            queue = self.queues[key] = Queue(stream, sending.may_be_limited)
            self.claimers_of[queue] = self._claimers(queue.route)
            for sheet in self.sheets_of(queue.route):
                self.queues_of[sheet].append(queue)
        return queue

    def _claimers(self, route: Route) -> Sequence[Claimer]:
        """Returns who may claim steps that go out so."""
        sending = self.plans[route.campaign_id].sending
        if not sending.is_sent_by_server(route.channel):
            return [self.claimers[None]]
        if route.mailbox_id is not None:
            return [self.claimers[route.mailbox_id]] if route.mailbox_id in self.claimers else []
        named = set(self.of_campaign.get(route.campaign_id, ()))
        return [claimer for id_, claimer in self.claimers.items() if id_ in named]

    def sheets_of(self, route: Route) -> list[Sheet]:
        """Returns where steps that go out so are counted: with one of several mailboxes, where nobody has one yet."""
        sending = self.plans[route.campaign_id].sending
        own = self.mailboxes.get(route.mailbox_id) if route.mailbox_id is not None else None
        if route.channel is not Channel.EMAIL or not (own or sending.mailboxes):
            return [Sheet(None, sending.zone)]
        return [sheet_of(mailbox) for mailbox in ([own] if own else self.pools(None).pool(route.campaign_id))]

    def sheets(self) -> list[Sheet]:
        """Returns all sheets that may be counted in."""
        zones = {plan.sending.zone for plan in self.plans.values()}
        return [*map(sheet_of, self.mailboxes.values()), *(Sheet(None, zone) for zone in sorted(zones))]

    def pools(self, asking: UUID | None) -> Pools:
        """Returns the mailboxes as a claim of `asking` sees them."""
        return Pools(self.mailboxes, self.of_campaign, self.people, Counter(), asking)

    def allowances(self, claimer: Claimer, now: datetime) -> Allowances:
        """Returns what is left of the limits for a claim."""
        self.counts.now = now
        return Allowances(self.plans, now, self.counts, self.pools(claimer.mailbox_id))

    def closed(self, queue: Queue, pools: Pools, now: datetime) -> list[Hold]:
        """Returns what holds the whole queue, apart from limits."""
        plan = self.plans[queue.route.campaign_id]
        return [
            *holds.of_campaign(CampaignStatus.ACTIVE, plan.sending, now),
            *queue.stream.closed(plan, pools, now),
        ]

    def reason(self, queue: Queue, sheet: Sheet, now: datetime) -> str | None:
        """Returns the word for what holds the first of the queue at that moment: a limit, or what closes it."""
        claimer = next((one for one in self.claimers_of[queue] if self._is_of(one, sheet)), self.claimers[None])
        allowances = self.allowances(claimer, now)
        closed = self.closed(queue, allowances.pools, now)
        lasting = next((hold for hold in closed if hold.until is None), closed[0] if closed else None)
        return str(lasting.reason) if lasting is not None else self.word(allowances.limits(queue.route), queue, sheet)

    def _is_of(self, claimer: Claimer, sheet: Sheet) -> bool:
        mailbox = self.mailboxes.get(claimer.mailbox_id) if claimer.mailbox_id is not None else None
        return mailbox is None or mailbox.address == sheet.mailbox

    def word(self, limits: Iterable[Hold], queue: Queue, sheet: Sheet) -> str | None:
        """Returns the word for the limit that holds people of a queue longest."""
        owners: list[Owner] = [queue.route.campaign_id]
        owners += [Account(Channel.EMAIL, sheet.mailbox)] if sheet.mailbox is not None else []
        is_ramped = any(self.counts.source(owner).has_ramp_up(self.counts.now) for owner in owners)
        return word(limits, is_ramped=is_ramped)

    def is_anybody_ready(self, sheet: Sheet) -> bool:
        """Returns whether somebody waits who was due when their queue was looked at last."""
        return any(queue.ready and self.book.counts(queue.route.campaign_id) for queue in self.queues_of[sheet])

    def count_new(self, queue: Queue, most: int) -> int:
        """Returns how many of a queue are due, apart from those whom another campaign writes to; at most `most`."""
        uncertain = len(queue.looked_at) + queue.dropped
        if not uncertain or len(queue.ready) - uncertain >= most:
            return min(len(queue.ready), most)
        there = (person for _, _, person in queue.ready if not self._is_away(person))
        return sum(1 for _ in islice(there, most))

    def _is_away(self, person: Waiting) -> bool:
        return person.is_dropped or (person.busy_since is not None and self.conversations.is_held(person))

    def note_first(self, mailbox: PoolMailbox, now: datetime) -> None:
        """Notes that a mailbox sends from now on."""
        if mailbox.since is None:
            self.mailboxes[mailbox.id] = replace(mailbox, since=now)


def sheet_of(mailbox: PoolMailbox) -> Sheet:
    return Sheet(mailbox.address, mailbox.pace.zone)
