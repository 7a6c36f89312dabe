"""A process of its own that does one thing to the database: the other half of a race."""

import json
import sys
from datetime import timedelta
from functools import partial
from uuid import UUID

from db.domain.contacts import SuppressionTarget
from db.domain.events import EventType
from db.domain.states import ActionOutcome, EnrollmentAction, SuppressionReason
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.people import suppressions
from tests.support.campaigns import NOW, enroll, event, record
from tests.support.steps import claim_at, claim_for, report_at

MANUAL = SuppressionReason.MANUAL


def _send(database: Database, mailbox_ids: list[UUID], rounds: int) -> list[str]:
    """Sends what each mailbox may send, hour by hour; the ids of the steps that were handed out."""
    handed: list[str] = []
    for number in range(rounds):
        now = NOW + timedelta(hours=number)
        for mailbox_id in mailbox_ids:
            for due in claim_for(database, mailbox_id, now, limit=3).actions:
                report_at(database, due, ActionOutcome.SENT, now)
                handed.append(str(due.action_id))
        for due in claim_at(database, None, now, limit=2).actions:
            report_at(database, due, ActionOutcome.SENT, now)
            handed.append(str(due.action_id))
    return handed


def main() -> None:
    """Argument: the URL. Waits for the work, a line of JSON on stdin, does it, and prints the answer as JSON."""
    database = Database.open(DatabaseConfig(url=sys.argv[1], max_attempts=10))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    work = json.loads(sys.stdin.readline())
    answer: list[str] = []
    if work["do"] == "record":
        for batch in work["batches"]:
            given = [
                event(EventType(kind), UUID(who), step_number=1, provider="p", provider_event_id=key)
                for kind, who, key in batch
            ]
            answer += [str(outcome.verdict) for outcome in record(database, *given)]
    elif work["do"] in ("enroll", "many"):
        for part in work.get("works", [work]):
            answer += [str(verdict) for verdict in enroll(database, UUID(part["campaign"]), part["emails"])]
    elif work["do"] == "send":
        answer += _send(database, [UUID(mailbox_id) for mailbox_id in work["mailboxes"]], work["rounds"])
    elif work["do"] == "suppress":
        for email in work["emails"]:
            database.run("suppress", partial(suppressions.suppress, email=email, reason=MANUAL, source=None))
    elif work["do"] == "erase":
        for email in work["emails"]:
            target = SuppressionTarget(email=email)
            done = database.run("erase", partial(erasure.erase, target=target, even_if_unknown=True, now=NOW))
            answer.append(str(done.was_erased_before))
    else:
        enrollment_id = UUID(work["enrollment"])
        action = EnrollmentAction(work["do"])
        database.run(
            "update", lambda session: enrollments.update(session, enrollment_id=enrollment_id, action=action, now=NOW)
        )
    sys.stdout.write(json.dumps(answer) + "\n")
    database.close()


if __name__ == "__main__":
    main()
