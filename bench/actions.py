"""Claims with 1,000,000 active enrollments against 10,000; and claim + complete against bare claims of a queue.

The bare queue is what PostgreSQL is at its best at: one table, one UPDATE of one row a transaction, with SKIP LOCKED.
The bare program beside it writes what a claim and a report write: the limit of the same work.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from bench.bare_actions import BareProgram
from bench.measure import alternate, machine, rate, ratio, report, verdict
from bench.postgres import NOW, campaign, database
from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.dispatch import actions, claims, reports
from db.services.dispatch.claims import DueAction
from db.services.dispatch.reports import Report

CLAIM = 100
BATCH = 10
DONE = 500
ROUNDS = 15

# Enrolled at once, since what is measured is the queue and not how people came to stand in it.
_PEOPLE = text("""
    WITH made AS (
        INSERT INTO contacts (id, email, first_name)
        SELECT gen_random_uuid(), :prefix || n || '@example.com', 'Jane' FROM generate_series(1, :count) n RETURNING id
    )
    INSERT INTO campaign_enrollments (instance_id, id, contact_id, status, next_action_at, a_b_variant)
    SELECT :campaign, gen_random_uuid(), id, 'active',
           CAST(:now AS timestamptz) - random() * interval '1 day', CASE WHEN random() < 0.5 THEN 'A' ELSE 'B' END
    FROM made
""")
_TOTAL = text(
    "INSERT INTO campaign_enrollment_totals (instance_id, status, total) VALUES (:campaign, 'active', :count)"
)
_QUEUE = """
    CREATE TABLE bare_queue (id bigint PRIMARY KEY, due timestamptz NOT NULL, done boolean NOT NULL DEFAULT false);
    CREATE INDEX ON bare_queue (due, id) WHERE NOT done;
    INSERT INTO bare_queue SELECT n, now() - random() * interval '1 day' FROM generate_series(1, 100000) n
"""
_TAKE = text("""
    UPDATE bare_queue SET done = true
    WHERE id = (SELECT id FROM bare_queue WHERE NOT done ORDER BY due, id LIMIT 1 FOR UPDATE SKIP LOCKED)
""")


def fill(opened: Database, count: int, prefix: str) -> UUID:
    """A campaign of two steps with `count` people whose first step is due."""
    campaign_id = campaign(opened, steps=2)
    with opened.transaction("fill") as session:
        values = {"campaign": campaign_id, "count": count}
        session.execute(_PEOPLE, {**values, "prefix": prefix, "now": NOW})
        session.execute(_TOTAL, values)
    return campaign_id


def tidy(opened: Database) -> None:
    """What the server does by itself within a minute of work."""
    with opened.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def claim(opened: Database, campaign_id: UUID, limit: int) -> list[DueAction]:
    return opened.run(
        "claim",
        lambda session: claims.claim(
            session,
            campaign_id=campaign_id,
            channel=None,
            limit=limit,
            lease_seconds=300,
            now=NOW + timedelta(minutes=1),
        ),
    ).actions


def complete(opened: Database, due: DueAction) -> None:
    opened.run(
        "complete",
        lambda session: actions.complete(
            session,
            action_id=due.action_id,
            lease_token=due.lease_token,
            outcome=ActionOutcome.SENT,
            provider="bench",
            provider_message_id=f"m-{due.action_id}",
            error=None,
            now=NOW + timedelta(minutes=2),
        ),
    )


def work_off(opened: Database, campaign_id: UUID) -> None:
    for _ in range(DONE // BATCH):
        for due in claim(opened, campaign_id, BATCH):
            complete(opened, due)


def complete_together(opened: Database, due: list[DueAction]) -> None:
    told = [Report(one.action_id, one.lease_token, ActionOutcome.SENT, "bench", f"m-{one.action_id}") for one in due]
    opened.run("complete", lambda session: reports.complete_all(session, reports=told, now=NOW + timedelta(minutes=2)))


def work_off_together(opened: Database, campaign_id: UUID) -> None:
    for _ in range(DONE // BATCH):
        complete_together(opened, claim(opened, campaign_id, BATCH))


def take(opened: Database) -> None:
    for _ in range(DONE):
        opened.run("bare", lambda session: session.execute(_TAKE))


def main() -> None:
    print(machine())
    with database() as opened:
        small, large = fill(opened, 10_000, "s"), fill(opened, 1_000_000, "l")
        with opened.transaction("queue") as session:
            session.connection().exec_driver_sql(_QUEUE)
        tidy(opened)

        def milliseconds(campaign_id: UUID) -> Callable[[], float]:
            def measure() -> float:
                start = time.perf_counter()
                claim(opened, campaign_id, CLAIM)
                return (time.perf_counter() - start) * 1000

            return measure

        names = (f"claim {CLAIM} of 1,000,000", f"claim {CLAIM} of 10,000")
        figures = alternate({names[0]: milliseconds(large), names[1]: milliseconds(small)}, 2 * ROUNDS + 1)
        report("Claims", figures, against=names[1], unit="ms")
        growth = ratio(figures, *names)
        verdict(" / ".join(names), growth, "at most 1.5", met=growth <= 1.5)
        # The plans of prepared statements go by the statistics of empty tables until those are taken again.
        bare = BareProgram(opened, large, NOW + timedelta(minutes=1))
        work_off(opened, large)
        bare.work_off(DONE, BATCH)
        take(opened)
        tidy(opened)
        one, together, limit, queue = "claim + complete", "claim + complete_actions", "bare program", "bare UPDATE"
        figures = alternate(
            {
                one: lambda: rate(DONE, lambda: work_off(opened, large)),
                together: lambda: rate(DONE, lambda: work_off_together(opened, large)),
                limit: lambda: rate(DONE, lambda: bare.work_off(DONE, BATCH)),
                queue: lambda: rate(DONE, lambda: take(opened)),
            },
            ROUNDS,
        )
        bare.close()
        report(f"Actions, claimed {BATCH} at a time", figures, against=queue, unit="actions/s")
        for name, aim in ((one, 0.4), (together, 1.5)):
            speed = ratio(figures, name, queue)
            verdict(f"{name} / {queue}", speed, f"at least {aim}", met=speed >= aim)
            print(f"  {name} / {limit}: {ratio(figures, name, limit):.2f}")


if __name__ == "__main__":
    main()
