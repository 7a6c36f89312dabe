"""A process of its own that does one thing to the database: the other half of a race."""

import json
import sys
from functools import partial
from uuid import UUID

from db.domain.contacts import SuppressionTarget
from db.domain.events import EventType
from db.domain.states import EnrollmentAction, SuppressionReason
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.people import suppressions
from tests.support.campaigns import NOW, enroll, event, record

MANUAL = SuppressionReason.MANUAL


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
    elif work["do"] == "enroll":
        answer += [str(each) for each in enroll(database, UUID(work["campaign"]), work["emails"])]
    elif work["do"] == "many":
        for each in work["works"]:
            answer += [str(one) for one in enroll(database, UUID(each["campaign"]), each["emails"])]
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
