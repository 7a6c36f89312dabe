"""enroll_contacts of 10,000 new people, against COPY of the same rows into contacts and campaign_enrollments."""

from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection

from bench.measure import alternate, machine, rate, ratio, report, verdict
from bench.postgres import NOW, campaign, database, people
from db.domain.ids import new_ids
from db.postgres.database import Database
from db.services.enrollments import enrollments

PEOPLE = 10_000
ROUNDS = 7
CONTACT: LiteralString = "id, email, linkedin_url, first_name, last_name, company, title"
ENROLLMENT: LiteralString = "instance_id, id, contact_id, status, next_action_at, a_b_variant"


class Bench:
    def __init__(self, opened: Database) -> None:
        self._database = opened
        self._campaign = campaign(opened)
        self._round = 0

    def service(self) -> float:
        self._round += 1
        refs = people(PEOPLE, f"s{self._round}-")

        def enroll() -> None:
            self._database.run(
                "enroll",
                lambda session: enrollments.enroll(
                    session, campaign_id=self._campaign, people=refs, start_at=None, now=NOW
                ),
            )

        return rate(PEOPLE, enroll)

    def copy(self) -> float:
        self._round += 1
        contacts, enrolled = self._rows()
        raw = self._database.engine.raw_connection()
        connection: Connection[Any] = raw.driver_connection  # type: ignore[assignment]

        def copy() -> None:
            with connection.cursor().copy(f"COPY contacts ({CONTACT}) FROM STDIN") as stream:
                for row in contacts:
                    stream.write_row(row)
            with connection.cursor().copy(f"COPY campaign_enrollments ({ENROLLMENT}) FROM STDIN") as stream:
                for row in enrolled:
                    stream.write_row(row)
            connection.commit()

        try:
            return rate(PEOPLE, copy)
        finally:
            raw.close()

    def _rows(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        ids: list[UUID] = new_ids(2 * PEOPLE)
        fields = [ref.fields for ref in people(PEOPLE, f"c{self._round}-").values()]
        contacts = [
            (ids[at], field.email, field.linkedin_url, field.first_name, field.last_name, field.company, field.title)
            for at, field in enumerate(fields)
        ]
        enrolled = [(self._campaign, ids[PEOPLE + at], ids[at], "active", NOW, "AB"[at % 2]) for at in range(PEOPLE)]
        return contacts, enrolled


def main() -> None:
    print(machine())
    with database() as opened:
        bench = Bench(opened)
        figures = alternate({"enroll_contacts": bench.service, "COPY": bench.copy}, ROUNDS)
        report("Enrolment of 10,000 new people", figures, against="COPY", unit="people/s")
        value = ratio(figures, "enroll_contacts", "COPY")
        verdict("enroll_contacts / COPY", value, "at least 0.3", met=value >= 0.3)


if __name__ == "__main__":
    main()
