"""Runs the claims of the next days in memory: at each moment at which something may go out, all goes out that may."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from db.domain.allowance import Owner
from db.domain.forecast.claim import Claim
from db.domain.forecast.conversations import Conversations
from db.domain.forecast.counts import Counts
from db.domain.forecast.days import Book, Forecast, Sheet, Wanted
from db.domain.forecast.people import Waiting
from db.domain.forecast.world import World
from db.domain.holds import HoldReason
from db.domain.pacing import Source
from db.domain.pools import Pools
from db.domain.scheduling import Plan
from db.domain.sending import Usage, day_of

BEYOND: Final = timedelta(days=90)
"""How far a forecast looks for the end of a campaign, whatever days are asked for."""
_BEYOND_MOST: Final = 3_000


def simulate(
    *,
    plans: Mapping[UUID, Plan],
    pools: Pools,
    sources: Mapping[Owner, Source],
    usages: Mapping[Owner, Usage],
    people: Iterable[Waiting],
    wanted: Wanted,
    now: datetime,
    conversations: Conversations | None = None,
) -> Forecast:
    """Returns what goes out from `now` on.

    plans: active campaigns that can be read. pools: their mailboxes, with how many people each writes to. sources,
    usages: the paces of all owners, and what they have used. people: all who wait in these campaigns. conversations:
    those of the people whom several campaigns write to.
    """
    world = World(
        plans,
        dict(pools.mailboxes),
        pools.of_campaign,
        Counter(pools.people),
        Counts(sources, usages, now),
        Book(wanted, now),
        conversations or Conversations(),
        {id_: plan.overdue_before(now) for id_, plan in plans.items()},
    )
    _add(world, people, now)
    _run(world, now)
    return world.book.told(world.sheets(), is_over=_is_over(world))


def _add(world: World, people: Iterable[Waiting], now: datetime) -> None:
    """Lets people wait: those who wait for another campaign until that has ended for them."""
    for person in people:
        queue = world.queue_of(person) if person.busy_since is not None else None
        if queue is not None and world.conversations.is_held(person):
            world.conversations.note(person, queue, is_parked=True)
            continue
        world.wait(person, now)
        if queue is not None:
            world.conversations.note(person, queue, is_parked=False)


def _is_over(world: World) -> bool:
    """Returns whether nobody who is asked about waits any more, apart from those for whom a person must do something
    first: let another campaign of theirs go on, or end it."""
    asked = [queue for queue in world.queues.values() if world.book.counts(queue.route.campaign_id)]
    if any(queue.first_due() for queue in asked):
        return False
    holders = {holder for person, holder in world.conversations.parked() if world.book.counts(person.campaign_id)}
    return not holders or not any(holders & queue.ids() for queue in world.queues.values())


def _run(world: World, now: datetime) -> None:
    nights = _nights(world, now)
    beyond = 0
    while True:
        upcoming = world.agenda.next()
        if nights and (upcoming is None or nights[-1][0] <= upcoming[0]):
            _close(world, *nights.pop())
        elif upcoming is None or upcoming[0] > now + BEYOND or beyond > _BEYOND_MOST:
            return
        else:
            at, claimer = upcoming
            claim = Claim(world, claimer, at)
            sent = claim.run()
            if not sent and claim.ended and claimer.mailbox_id is None:  # who waited for these is handed out at once
                sent = Claim(world, claimer, at).run()
            beyond += 0 if nights else sent + 1


def _nights(world: World, now: datetime) -> list[tuple[datetime, Sheet]]:
    """Returns the ends of all days that are asked for, the last one first."""
    found: list[tuple[datetime, Sheet]] = []
    for sheet in world.sheets():
        end = now
        for _ in range(world.book.wanted.days):
            end = day_of(end, sheet.zone).end
            found.append((end, sheet))
    return sorted(found, key=lambda night: night[0], reverse=True)


def _close(world: World, end: datetime, sheet: Sheet) -> None:
    """Ends the day of a sheet: notes what keeps those waiting who were due on it."""
    book = world.book
    left = [
        queue
        for queue in world.queues_of[sheet]
        if book.counts(queue.route.campaign_id) and (due := queue.first_due()) is not None and due < end
    ]
    if left:
        book.close(sheet, end, world.reason(left[0], sheet, end - timedelta(microseconds=1)))
    else:
        book.leave(sheet, None)
        if any(queue.busy for queue in world.queues_of[sheet] if book.counts(queue.route.campaign_id)):
            book.close(sheet, end, HoldReason.CONTACT_BUSY)
