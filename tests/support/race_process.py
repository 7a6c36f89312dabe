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
from db.services.dispatch import reports
from db.services.dispatch.reports import Report
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.people import suppressions
from tests.support.campaigns import NOW, enroll, event, record
from tests.support.steps import claim_at, claim_for, report_at

SENT, FAILED = ActionOutcome.SENT, ActionOutcome.FAILED
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


def _write(database: Database, campaign_ids: list[UUID]) -> list[str]:
    """Claims in one campaign after the other until nothing is due, and reports each step as sent, but some as failed;
    the enrollments that were handed out."""
    handed: list[str] = []
    while True:
        claims = [claim_at(database, campaign_id, NOW, limit=250) for campaign_id in campaign_ids]
        for claim in claims:
            told = [
                Report(due.action_id, due.lease_token, SENT if due.enrollment.id.int % 20 else FAILED)
                for due in claim.actions
            ]
            database.run("report", partial(reports.complete_all, reports=told, now=NOW))
            handed += [str(due.enrollment.id) for due in claim.actions]
        if not any(claim.actions or claim.is_more for claim in claims):
            return handed


def _record(database: Database, batches: list[list[tuple[str, str, str]]]) -> list[str]:
    """Records each batch of events: their kind, enrollment and key; the verdicts."""
    answer: list[str] = []
    for batch in batches:
        given = [
            event(EventType(kind), UUID(who), step_number=1, provider="p", provider_event_id=key)
            for kind, who, key in batch
        ]
        answer += [str(outcome.verdict) for outcome in record(database, *given)]
    return answer


def main() -> None:
    """Argument: the URL. Waits for the work, a line of JSON on stdin, does it, and prints the answer as JSON."""
    database = Database.open(DatabaseConfig(url=sys.argv[1], max_attempts=10))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    work = json.loads(sys.stdin.readline())
    answer: list[str] = []
    if work["do"] == "record":
        answer += _record(database, work["batches"])
    elif work["do"] in ("enroll", "many"):
        for part in work.get("works", [work]):
            answer += [str(verdict) for verdict in enroll(database, UUID(part["campaign"]), part["emails"])]
    elif work["do"] == "send":
        answer += _send(database, [UUID(mailbox_id) for mailbox_id in work["mailboxes"]], work["rounds"])
    elif work["do"] == "write":
        answer += _write(database, [UUID(campaign_id) for campaign_id in work["campaigns"]])
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
