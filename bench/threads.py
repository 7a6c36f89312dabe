"""list_threads with 1,000,000 messages against 10,000, each in a database of its own."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from bench.measure import alternate, machine, ratio, report, verdict
from bench.postgres import NOW, campaign, database, enroll
from db.domain.mail.verdict import MailKind
from db.domain.mailboxes import MailServer, Security
from db.domain.states import ThreadState
from db.postgres.database import Database
from db.services.mail import conversations, mailboxes, threads
from db.services.mail.mailboxes import MailboxChange

ROUNDS = 31
PAGE = 50
THREADS_EACH = 20
MESSAGES_EACH = 5
CALLS = 4

# Rows as the server keeps them, written at once: the benchmark measures reading. A message writes the row of its thread
# again, so threads lie in the order of their latest messages.
_THREADS = text("""
    INSERT INTO threads (id, instance_id, enrollment_id, contact_id, mailbox_id, subject, state, last_message_at,
                         last_kind, messages)
    SELECT gen_random_uuid(), e.instance_id, e.id, e.contact_id, :mailbox, 'Hello ' || n,
           (ARRAY['waiting', 'needs_answer', 'answered', 'closed'])[1 + at % 4],
           CAST(:now AS timestamptz) + at * interval '1 second',
           (ARRAY['human', 'auto_reply', 'absence', 'bounce'])[1 + at / 4 % 4], :each
    FROM campaign_enrollments e, generate_series(1, :threads) n,
         LATERAL (SELECT abs(hashtext(e.id::text || n)) % 8000000 AS at) of_thread
    WHERE e.instance_id = :campaign
    ORDER BY at
""")
_MESSAGES = text("""
    INSERT INTO messages (id, direction, channel, mailbox_id, instance_id, enrollment_id, internet_message_id, subject,
                          occurred_at, thread_id, status, kind, sender, sent_at)
    SELECT gen_random_uuid(), 'in', 'email', t.mailbox_id, t.instance_id, t.enrollment_id, n || '-' || t.id, t.subject,
           t.last_message_at - n * interval '1 hour', t.id, 'recorded', t.last_kind, 'jane@example.com',
           t.last_message_at
    FROM threads t, generate_series(1, :each) n
""")


def fill(opened: Database, messages: int) -> dict[str, UUID]:
    """A campaign with so many messages in its threads, and the filters that its threads are listed by."""
    campaign_id = campaign(opened)
    people = messages // (THREADS_EACH * MESSAGES_EACH)
    enroll(opened, campaign_id, people, "t")
    smtp = MailboxChange(smtp=MailServer("smtp.example.com", 587, Security.STARTTLS))
    mailbox_id = opened.run(
        "mailbox", lambda session: mailboxes.connect(session, address="ann@example.com", change=smtp).id
    )
    with opened.transaction("fill") as session:
        given = {"campaign": campaign_id, "mailbox": mailbox_id, "now": NOW, "each": MESSAGES_EACH}
        session.execute(_THREADS, {**given, "threads": THREADS_EACH})
        session.execute(_MESSAGES, given)
    with opened.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return {"campaign_id": campaign_id, "mailbox_id": mailbox_id}


def lists(opened: Database, every: Sequence[dict[str, Any]], *, rows: int = PAGE) -> Callable[[], float]:
    """Milliseconds for a first page by each of these filters, as list_threads reads it."""

    def read(session: Session, filters: dict[str, Any]) -> None:
        found = threads.list_(session, limit=PAGE, cursor=None, **filters).rows
        conversations.people(session, contact_ids=[row.contact_id for row in found])
        assert len(found) == rows

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            for filters in every:
                opened.run("list", partial(read, filters=filters), read_only=True)
        return (time.perf_counter() - start) * 1000 / CALLS / len(every)

    return measure


def filters_of(ids: dict[str, UUID]) -> list[dict[str, Any]]:
    needs_answer = {"state": ThreadState.NEEDS_ANSWER}
    return [
        {},
        needs_answer,
        {**needs_answer, "campaign_id": ids["campaign_id"]},
        {"mailbox_id": ids["mailbox_id"]},
        {"kind": MailKind.ABSENCE},
        {"since": NOW + timedelta(days=1)},
    ]


def main() -> None:
    print(machine())
    with database() as small, database() as large:
        of_small, of_large = fill(small, 10_000), fill(large, 1_000_000)
        figures = alternate(
            {
                "10,000 messages": lists(small, filters_of(of_small)),
                "1,000,000 messages": lists(large, filters_of(of_large)),
            },
            ROUNDS,
        )
        report("list_threads, a page of 50", figures, against="10,000 messages", unit="ms")
        growth = ratio(figures, "1,000,000 messages", "10,000 messages")
        verdict("list_threads, 1,000,000 / 10,000 messages", growth, "at most 1.3", met=growth <= 1.3)
        nowhere = lists(large, [{"kind": MailKind.COMPLAINT}], rows=0)
        print(f"  a kind that no thread has: {nowhere():.1f} ms")


if __name__ == "__main__":
    main()
