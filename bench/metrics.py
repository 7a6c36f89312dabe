"""get_metrics with 1,000,000 events against 10,000, and against the aggregate over the events."""

import time
from collections.abc import Callable
from uuid import UUID

from sqlalchemy import text

from bench.measure import alternate, machine, ratio, report, verdict
from bench.postgres import NOW, campaign, database, enroll
from db.domain.events import EventType, NewEvent
from db.domain.metrics import GroupBy
from db.domain.states import Channel
from db.postgres.database import Database
from db.services.events import events
from db.services.reports import metrics

ROUNDS = 15
EVENTS_EACH = 10

# The numbers are the server's own; only the history behind them is written at once, since recording a million events
# one batch after another would take the better part of an hour of a benchmark that measures reading.
_HISTORY = text("""
    INSERT INTO campaign_events (instance_id, id, enrollment_id, event_type, channel, step_number, occurred_at,
                                 provider, provider_event_id)
    SELECT e.instance_id, gen_random_uuid(), e.id, (ARRAY['sent', 'delivered', 'opened', 'clicked'])[1 + n % 4],
           'email', 1, CAST(:now AS timestamptz) + n * interval '1 minute', 'bench', 'h' || n || '-' || e.id
    FROM campaign_enrollments e, generate_series(1, :each) n WHERE e.instance_id = :campaign
""")
_AGGREGATE = text("""
    SELECT event_type, count(*), count(DISTINCT enrollment_id) FROM campaign_events
    WHERE instance_id = :campaign GROUP BY event_type
""")


def fill(opened: Database, count: int, prefix: str) -> UUID:
    """A campaign with `count` events of a tenth as many people; the last batch of them recorded by the server."""
    campaign_id = campaign(opened)
    everybody: list[UUID] = []
    for at in range(0, count // EVENTS_EACH, 10_000):
        everybody += enroll(opened, campaign_id, min(10_000, count // EVENTS_EACH - at), f"{prefix}{at}-")
    for at in range(0, len(everybody), 10_000):
        batch = [
            NewEvent(EventType.OPENED, Channel.EMAIL, NOW, enrollment_id=contact, step_number=1)
            for contact in everybody[at : at + 10_000]
        ]
        opened.run("record", lambda session, batch=batch: events.record_events(session, events=batch))
    with opened.transaction("history") as session:
        session.execute(_HISTORY, {"campaign": campaign_id, "each": EVENTS_EACH - 1, "now": NOW})
    return campaign_id


def main() -> None:
    print(machine())
    with database() as opened:
        small, large = fill(opened, 10_000, "s"), fill(opened, 1_000_000, "l")
        with opened.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))

        def seconds(work: Callable[[], object]) -> Callable[[], float]:
            def measure() -> float:
                start = time.perf_counter()
                work()
                return time.perf_counter() - start

            return measure

        def get_metrics(campaign_id: UUID) -> Callable[[], object]:
            return lambda: opened.run(
                "metrics",
                lambda session: metrics.report(
                    session, campaign_id=campaign_id, group_by=GroupBy.STEP, since=None, until=None
                ),
                read_only=True,
            )

        def aggregate() -> object:
            return opened.run("aggregate", lambda session: session.execute(_AGGREGATE, {"campaign": large}).all())

        figures = alternate(
            {
                "get_metrics, 10,000 events": seconds(get_metrics(small)),
                "get_metrics, 1,000,000 events": seconds(get_metrics(large)),
                "aggregate, 1,000,000 events": seconds(aggregate),
            },
            ROUNDS,
        )
        in_ms = {name: [value * 1000 for value in values] for name, values in figures.items()}
        report("Metrics", in_ms, against="get_metrics, 10,000 events", unit="ms")
        growth = ratio(figures, "get_metrics, 1,000,000 events", "get_metrics, 10,000 events")
        verdict("get_metrics, 1,000,000 / 10,000 events", growth, "at most 1.3", met=growth <= 1.3)
        gain = ratio(figures, "aggregate, 1,000,000 events", "get_metrics, 1,000,000 events")
        verdict("aggregate / get_metrics", gain, "at least 50", met=gain >= 50)


if __name__ == "__main__":
    main()
