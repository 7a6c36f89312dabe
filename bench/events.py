"""record_events in batches of 1,000, against COPY and against a plain INSERT of the same rows into the same table.

Each round records a mix of sends, deliveries, opens and clicks of 5,000 people, every event with a provider's id.
"""

import random
from collections.abc import Callable
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.types.json import Jsonb
from sqlalchemy import text

from bench.measure import alternate, machine, rate, ratio, report, verdict
from bench.postgres import NOW, campaign, database, enroll
from db.domain.events import EventType, NewEvent
from db.domain.ids import new_ids
from db.domain.states import Channel
from db.postgres.database import Database
from db.services.events import events

PEOPLE = 5_000
BATCH = 1_000
BATCHES = 10
ROUNDS = 7
KINDS = (EventType.SENT, EventType.DELIVERED, EventType.OPENED, EventType.CLICKED)

COLUMNS: LiteralString = """
    instance_id, id, enrollment_id, event_type, channel, step_number, occurred_at, provider, provider_event_id, metadata
"""
_INSERT = f"""
    INSERT INTO campaign_events ({COLUMNS})
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::int[], %s::timestamptz[],
                         %s::text[], %s::text[], %s::jsonb[])
    ON CONFLICT (provider, provider_event_id) WHERE provider_event_id IS NOT NULL DO NOTHING
"""


class Bench:
    def __init__(self, opened: Database) -> None:
        self._database = opened
        self._campaign = campaign(opened)
        self._enrollments = enroll(opened, self._campaign, PEOPLE, "p")
        self._dice = random.Random(1)
        self._number = 0

    def batches(self) -> list[list[NewEvent]]:
        return [[self._event() for _ in range(BATCH)] for _ in range(BATCHES)]

    def _event(self) -> NewEvent:
        self._number += 1
        return NewEvent(
            self._dice.choice(KINDS),
            Channel.EMAIL,
            NOW,
            enrollment_id=self._dice.choice(self._enrollments),
            step_number=1,
            provider="bench",
            provider_event_id=f"event-{self._number}",
            metadata={"ip": "192.0.2.1", "agent": "Mail"},
        )

    def rows(self, batch: list[NewEvent]) -> list[tuple[Any, ...]]:
        return [
            (self._campaign, id_, event.enrollment_id, str(event.event_type), "email", 1, event.occurred_at, "bench",
             event.provider_event_id, Jsonb(event.metadata))
            for id_, event in zip(new_ids(len(batch)), batch, strict=True)
        ]  # fmt: skip

    def service(self) -> float:
        batches = self.batches()

        def record() -> None:
            for batch in batches:
                self._record(batch)

        return rate(BATCH * BATCHES, record)

    def _record(self, batch: list[NewEvent]) -> None:
        self._database.run("record", lambda session: events.record_events(session, events=batch))

    def copy(self) -> float:
        return self._raw(self._copy_rows)

    def insert(self) -> float:
        return self._raw(self._insert_rows)

    def _raw(self, work: Callable[[Connection[Any], list[tuple[Any, ...]]], None]) -> float:
        batches = [self.rows(batch) for batch in self.batches()]
        raw = self._database.engine.raw_connection()
        connection: Connection[Any] = raw.driver_connection  # type: ignore[assignment]

        def write() -> None:
            for batch in batches:
                work(connection, batch)

        try:
            return rate(BATCH * BATCHES, write)
        finally:
            raw.close()

    @staticmethod
    def _copy_rows(connection: Connection[Any], rows: list[tuple[Any, ...]]) -> None:
        with connection.cursor().copy(f"COPY campaign_events ({COLUMNS}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        connection.commit()

    @staticmethod
    def _insert_rows(connection: Connection[Any], rows: list[tuple[Any, ...]]) -> None:
        connection.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])
        connection.commit()


def main() -> None:
    print(machine())
    with database() as opened:
        bench = Bench(opened)
        bench.service()  # the actions exist from here on, as in a campaign under way
        with opened.transaction("analyze") as session:
            session.execute(text("ANALYZE"))
        candidates = {"record_events": bench.service, "COPY": bench.copy, "INSERT unnest": bench.insert}
        figures = alternate(candidates, ROUNDS)
        report("Events", figures, against="COPY", unit="rows/s")
        copy, insert = ratio(figures, "record_events", "COPY"), ratio(figures, "record_events", "INSERT unnest")
        verdict("record_events / COPY", copy, "at least 0.35", met=copy >= 0.35)
        verdict("record_events / INSERT", insert, "at least 0.5", met=insert >= 0.5)


if __name__ == "__main__":
    main()
