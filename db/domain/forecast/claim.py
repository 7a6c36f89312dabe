"""One claim of a forecast: what goes out at one moment, by the rules by which the allowances of real claims go."""

from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final
from uuid import UUID

from db.domain import holds
from db.domain.allowance import Account
from db.domain.conversations import Busy
from db.domain.forecast.claimers import Claimer
from db.domain.forecast.days import Sheet
from db.domain.forecast.people import Queue, Waiting
from db.domain.forecast.world import World, sheet_of
from db.domain.holds import Hold, HoldReason
from db.domain.mailboxes import CLAIMED_MOST
from db.domain.pools import PoolMailbox
from db.domain.scheduling import Step, due_at, waits_until
from db.domain.sending import QUARTER, quarter_of
from db.domain.states import Channel

_EMAIL: Final = Channel.EMAIL


class Claim:
    """What one claimer hands out at `now`, and when it looks again."""

    def __init__(self, world: World, claimer: Claimer, now: datetime) -> None:
        self.world = world
        self.claimer = claimer
        self.now = now
        self.allowances = world.allowances(claimer, now)
        self.held: dict[Queue, list[Hold]] = {}
        self.limits: dict[Queue, list[Hold]] = {}
        self.open: set[Queue] = set()
        self.queues = claimer.look(now)
        self.sent = 0
        self.most = CLAIMED_MOST if claimer.mailbox_id is not None else None
        self.passed: list[Waiting] = []
        self.ended: dict[UUID, UUID] = {}
        self._line: list[tuple[datetime, UUID, int, Queue]] = []
        self._in_line: set[Queue] = set()

    def run(self) -> int:
        """Hands out all that may go out. Returns how many steps that were."""
        for queue in self.queues:
            queue.advance(self.now)
        self._count_new_people()
        self._line = [self._head(queue) for queue in self.queues if queue.ready]
        heapify(self._line)
        self._in_line = {entry[-1] for entry in self._line}
        while self._line and (self.most is None or self.sent < self.most):
            queue = heappop(self._line)[-1]
            self._in_line.discard(queue)
            if queue.ready and queue not in self.held and queue not in self.limits and self._is_open(queue):
                self._settle(queue)
        self.world.counts.book(self.allowances)
        self._report()
        self._look_again()
        self._tell()
        return self.sent

    def _head(self, queue: Queue) -> tuple[datetime, UUID, int, Queue]:
        due, id_, _ = queue.ready[0]
        return due, id_, id(queue), queue

    def _push(self, queue: Queue | None) -> None:
        if queue is None or self.claimer not in self.world.claimers_of[queue]:
            return
        queue.advance(self.now)
        if queue not in self.queues:
            self.queues.append(queue)
        if queue.ready and queue not in self._in_line:
            heappush(self._line, self._head(queue))
            self._in_line.add(queue)

    def _count_new_people(self) -> None:
        """Counts those who are due and have no mailbox yet, campaign by campaign."""
        pools = self.allowances.pools
        most = pools.counted_most(CLAIMED_MOST)
        for queue in self.queues:
            plan = self.world.plans[queue.route.campaign_id]
            if queue.ready and queue.stream.takes_new_people(plan) and self._is_open(queue):
                pools.waiting[queue.route.campaign_id] += self.world.count_new(queue, most)

    def _is_open(self, queue: Queue) -> bool:
        if queue not in self.open and queue not in self.held:
            closed = self.world.closed(queue, self.allowances.pools, self.now)
            if closed:
                self.held[queue] = closed
            else:
                self.open.add(queue)
        return queue in self.open

    def _settle(self, queue: Queue) -> None:
        """Does with the first of a queue what a claim does."""
        person = queue.ready[0][2]
        if queue.is_limited:
            full = self._full() if person.reservation is None else []
            limits = full or self.allowances.limits_for(queue.route, person.reservation)
            if limits:
                self.limits[queue] = limits
                self._settle_reserved(queue)
                return
        self._hand_out(queue, person)

    def _settle_reserved(self, queue: Queue) -> None:
        """Hands out steps of a queue at its limit that have their reservation from before."""
        for person in queue.with_reservation():
            if not self.allowances.limits_for(queue.route, person.reservation):
                self._hand_out(queue, person)

    def _hand_out(self, queue: Queue, person: Waiting) -> None:
        step = self.world.steps.next(person)
        queue.take(person)
        busy = self._busy(person) if step is not None else None
        if busy is not None:
            self._let_wait(queue, person, busy)
        else:
            self._move_on(queue, person, step)
        self._push(queue)

    def _busy(self, person: Waiting) -> Busy | None:
        """Returns why the person gets nothing of this campaign now. Whoever has had another enrollment end in this
        claim waits for the next one."""
        return Busy(None) if person.contact_id in self.ended else self.world.conversations.busy(person, self.now)

    def _let_wait(self, queue: Queue, person: Waiting, busy: Busy) -> None:
        """Lets somebody wait for other campaigns of theirs."""
        person.busy_since = person.busy_since or person.due
        self.world.conversations.note(person, queue, is_parked=busy.until is None)
        if busy.until is not None:
            person.due = holds.busy_again(busy.until, self.now)
            self.world.wait(person, self.now)

    def _move_on(self, queue: Queue, person: Waiting, step: Step | None) -> None:
        """Sends somebody the step, if its condition is true."""
        self.world.conversations.forget(person, queue)
        if step is None:
            self.ended[person.contact_id] = person.id
        elif person.is_held_by_condition(step):
            self._hold_back(person, step)
        else:
            self._send(queue, person, step)

    def _hold_back(self, person: Waiting, step: Step) -> None:
        """Lets somebody wait for the condition of the step, or passes it."""
        until = waits_until(person.delay_from, step)
        if until is not None and self.now < until:
            person.due = until
            self._push(self.world.wait(person, self.now))
        else:
            self._pass(person, step)
            self._push(self.world.wait(person, self.now) if person.contact_id not in self.ended else None)

    def _send(self, queue: Queue, person: Waiting, step: Step) -> None:
        sending = self.world.plans[person.campaign_id].sending
        mailbox: PoolMailbox | None = None
        if queue.is_limited:
            mailbox = self.allowances.mailbox(queue.route)
            self.allowances.take(queue.route, person.reservation)
        if mailbox is not None:
            self.world.note_first(mailbox, self.now)
        sheet = Sheet(None, sending.zone)
        if mailbox is not None and sending.mailboxes:
            sheet, person.mailbox_id = sheet_of(mailbox), mailbox.id
        elif step.channel is _EMAIL:
            sheet = self.world.sheets_of(queue.route)[0]
        self.world.book.send(sheet, person.campaign_id, self.now)
        self.sent += 1
        self._wake_others(person.campaign_id)
        self.world.conversations.touch(person, self.now)
        self._pass(person, step)
        if person.contact_id not in self.ended:
            self.passed.append(person)

    def _wake_others(self, campaign_id: UUID) -> None:
        """Lets those look again who waited for another mailbox to take somebody."""
        waiting = self.world.waiting_turn.get(campaign_id)
        if waiting:
            for claimer, queue in waiting:
                claimer.plan(queue, self.now)
            waiting.clear()

    def _pass(self, person: Waiting, step: Step) -> None:
        """Passes a step: the next one is due after its delay, or the enrollment has ended."""
        person.current_step, person.delay_from = step.step_number, self.now
        person.claimed = person.reservation = None
        upcoming = self.world.steps.next(person)
        if upcoming is None:
            self.ended[person.contact_id] = person.id
        else:
            person.due = due_at(self.now, upcoming)

    def _report(self) -> None:
        """Lets the next claim have what comes after the steps that were sent, and those who waited for enrollments that
        have ended."""
        for person in self.passed:
            self.world.wait(person, self.now)
        for contact_id, enrollment_id in self.ended.items():
            for person in self.world.conversations.end(contact_id, enrollment_id):
                self.world.wait(person, self.now)

    def _look_again(self) -> None:
        """Plans when the claimer looks at its queues again."""
        full = self._full_until()
        for queue in self.queues:
            stopping = self.held.get(queue) or self.limits.get(queue)
            due = queue.first_due()
            if due is None:
                continue
            if not queue.ready or stopping is None:
                self.claimer.plan(queue, max(due, self.now))
            elif full is not None and queue in self.limits:
                self.claimer.park(queue, full)
            else:
                self._plan(queue, stopping)

    def _full_until(self) -> datetime | None:
        """Returns until when the mailbox itself is at a limit, so that all its queues wait."""
        return max((hold.until for hold in self._full() if hold.until is not None), default=None)

    def _full(self) -> list[Hold]:
        """Returns the limits of the mailbox itself that allow no more."""
        if self.claimer.mailbox_id is None:
            return []
        account = Account(_EMAIL, self.world.mailboxes[self.claimer.mailbox_id].address)
        return [limit.hold for limit in self.world.counts[account].limits if limit.free == 0]

    def _plan(self, queue: Queue, stopping: list[Hold]) -> None:
        if stopping[0].reason is HoldReason.SENT_BY_SERVER:
            self.world.waiting_turn[queue.route.campaign_id][self.claimer, queue] = None
            self.claimer.plan(queue, quarter_of(self.now) + QUARTER)
            return
        at = holds.can_move_at(stopping, queue.stream.calendars(self.allowances), self.now)
        if at is not None:
            self.claimer.plan(queue, at)

    def _tell(self) -> None:
        """Notes which limit keeps people waiting who are due."""
        reasons: dict[Sheet, str | None] = {}
        for queue in self.queues:
            if not self.world.book.counts(queue.route.campaign_id) or queue in self.held:
                continue
            for sheet in self.world.sheets_of(queue.route):
                if self.claimer.mailbox_id is None or self._is_own(sheet):
                    found = self.world.word(self.limits[queue], queue, sheet) if self._is_left(queue) else None
                    reasons[sheet] = found or reasons.get(sheet)
        for sheet, reason in reasons.items():
            if reason is not None or not self.world.is_anybody_ready(sheet):
                self.world.book.leave(sheet, reason)

    def _is_own(self, sheet: Sheet) -> bool:
        mailbox_id = self.claimer.mailbox_id
        return mailbox_id is not None and sheet.mailbox == self.world.mailboxes[mailbox_id].address

    def _is_left(self, queue: Queue) -> bool:
        return bool(queue.ready) and queue in self.limits
