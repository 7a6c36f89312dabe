"""How long a forecast takes with 100,000 people waiting, also where half of them are in two campaigns; and 30 days of
5,000 people, of whom many are in several campaigns, against what then happens."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import text

from bench.actions import campaign, fill, tidy
from bench.measure import machine, verdict
from bench.postgres import NOW, database
from db.domain.contacts import ContactFields, ContactRef
from db.domain.forecast import Forecast
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import forecast
from db.services.enrollments import enrollments
from db.services.ops import settings
from tests.support.campaigns import make_campaign
from tests.support.outgoing import connect
from tests.support.simulated_days import run_days

WINDOW = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00"}
POOL = [f"m{number:02}@example.com" for number in range(20)]


def look(opened: Database, days: int) -> Forecast:
    """A forecast of all campaigns, a minute after their start."""
    now = NOW + timedelta(minutes=1)
    ask = partial(forecast.read, campaign_id=None, mailbox=None, days=days, now=now)
    return opened.run("forecast", ask, read_only=True)()


def seconds(opened: Database, campaign_id: UUID, given: Mapping[str, Any]) -> float:
    """A forecast of 14 days with these settings."""
    change = partial(campaigns.update, campaign_id=campaign_id, fields={"settings": dict(given)}, now=NOW)
    opened.run("change", change)
    tidy(opened)
    start = time.perf_counter()
    found = look(opened, 14)
    taken = time.perf_counter() - start
    print(f"  {sum(day.planned for day in found.days):,} steps in {len(found.days)} rows")
    return taken


_SHARE = text("""
    INSERT INTO campaign_enrollments (instance_id, id, contact_id, status, next_action_at, delay_from)
    SELECT :other, gen_random_uuid(), contact_id, 'active', next_action_at, delay_from
    FROM campaign_enrollments WHERE instance_id = :campaign ORDER BY id LIMIT :count
""")


def share(opened: Database, campaign_id: UUID, count: int) -> UUID:
    """Another campaign of as many of these people."""
    other = campaign(opened, steps=2)
    with opened.transaction("share") as session:
        session.execute(_SHARE, {"other": other, "campaign": campaign_id, "count": count})
    return other


def enroll(opened: Database, campaign_id: UUID, people: int, first: int = 0) -> None:
    """People who begin in the first five days: those from the first group of 250 on."""
    drawn = random.Random(1)
    for group in range(first, first + people // 250):
        addresses = (f"p{group}-{number}@example.com" for number in range(250))
        refs = {n: ContactRef(None, ContactFields(email=address)) for n, address in enumerate(addresses)}
        at = NOW + timedelta(minutes=drawn.randrange(5 * 1440))
        opened.run("enroll", partial(enrollments.enroll, campaign_id=campaign_id, people=refs, start_at=at, now=NOW))


def wrong_rows(opened: Database) -> int:
    """How many mails of 30 days are in other rows than the forecast has them in."""
    opened.run("rules", partial(settings.update, days_between_campaigns=3, touches_per_week=3))
    ids = [connect(opened, address, daily_limit=170, hourly_limit=60) for address in POOL[:4]]
    pooled: dict[str, Any] = {"mailboxes": POOL[:4], "sending_window": WINDOW}
    limited: dict[str, Any] = {"daily_limit": 90, "sending_window": WINDOW}
    for number, (given, people, first) in enumerate([(pooled, 3_000, 0), (pooled, 2_000, 8), (limited, 1_500, 14)]):
        steps = [EmailStep(place, "Hello", "A text for everybody", delay_hours=50 + number) for place in (1, 2, 3)]
        enroll(opened, opened.run("campaign", partial(make_campaign, email_steps=steps, settings=given)), people, first)
    start = NOW + timedelta(minutes=1)
    expected = Counter({(day.date, day.mailbox): day.planned for day in look(opened, 30).days})
    zones: defaultdict[UUID | str | None, str] = defaultdict(lambda: "UTC")
    found = run_days(opened, start, start + timedelta(days=30), mailboxes=ids, zones=zones)
    found = Counter({row: count for row, count in found.items() if row[0] < (NOW + timedelta(days=30)).date()})
    print(f"  {sum(found.values()):,} mails in {len(found)} rows")
    return sum((expected - found).values()) + sum((found - expected).values())


def main() -> None:
    print(machine())
    with database() as opened:
        campaign_id = fill(opened, 100_000, "f")
        for address in POOL:
            connect(opened, address, daily_limit=50, min_gap_seconds=90)
        many: dict[str, dict[str, Any]] = {
            "20 mailboxes of 50 a day, 90 s apart, in a window": {"mailboxes": POOL, "sending_window": WINDOW},
            "2,000 a day": {"daily_limit": 2_000},
            "no limit": {},
        }
        for what, given in many.items():
            taken = seconds(opened, campaign_id, given)
            verdict(f"14 days with 100,000 waiting, {what}, seconds", taken, "at most 10", met=taken <= 10)
        other = share(opened, campaign_id, 50_000)
        opened.run("rules", partial(settings.update, days_between_campaigns=3, touches_per_week=2))
        for what, given in many.items():
            change = partial(campaigns.update, campaign_id=other, fields={"settings": dict(given)}, now=NOW)
            opened.run("change", change)
            taken = seconds(opened, campaign_id, given)
            what_is = f"the same, 50,000 of them in a second campaign too, {what}, seconds"
            verdict(what_is, taken, "at most 10", met=taken <= 10)
    with database() as opened:
        wrong = wrong_rows(opened)
        verdict("30 days of 5,000 people, mails in other rows", wrong, "0", met=wrong == 0)


if __name__ == "__main__":
    main()
