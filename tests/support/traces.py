"""A person who has left traces in every place, and a look for what is left of them."""

import json
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget
from db.domain.events import EventType, NewEvent
from db.domain.states import Channel, DeliveryStatus
from db.domain.webhooks import NewDelivery, Settled, StoreVerdict
from db.models import Base
from db.postgres.database import Database
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.erasure.erasure import Erased
from db.services.events import deliveries
from db.services.ops import idempotency
from tests.support.campaigns import NOW, event, new_scene, record

EMAIL = "zoë.quux@bücher.example"

LINK = "https://www.linkedin.com/in/zoe-quux"

TRACES = ("quux", "zoë", "bücher", "secretcorp", "sommelier", "pacific/apia", "plover")

OTHER = "a.quu@bücher-laden.example"

PERSON = ContactFields(
    EMAIL, LINK, "Zoë", "Quux", "SecretCorp", "Sommelier", "Pacific/Apia", {"nick": "plover", "n": 1}
)


def erase(database: Database, **whom: Any) -> Erased:
    return database.run("erase", partial(erasure.erase, now=NOW + timedelta(days=1), **whom))


def by_email(email: str = EMAIL) -> dict[str, Any]:
    return {"target": SuppressionTarget(email=email)}


def take_in(database: Database, campaign_id: UUID, *people: ContactRef) -> list[enrollments.Enrolled]:
    answers = database.run(
        "enroll",
        lambda session: enrollments.enroll(
            session, campaign_id=campaign_id, people=dict(enumerate(people)), start_at=None, now=NOW
        ),
    )
    return [answers[index] for index in range(len(people))]


def everything(database: Database) -> str:
    """All that stands in any column of any table that can hold a text, in lower case."""
    with database.transaction("look") as session:
        columns = session.execute(
            text("""
                SELECT c.table_name, c.column_name, c.data_type = 'bytea' FROM information_schema.columns c
                JOIN information_schema.tables t USING (table_schema, table_name)
                WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
                  AND data_type NOT IN ('uuid', 'integer', 'bigint', 'boolean', 'date', 'timestamp with time zone')
            """)
        ).all()
        # All but two have a column that can.
        assert {table for table, *_ in columns} >= set(Base.metadata.tables) - {"campaign_usage", "conversations"}
        assert len(columns) > 60
        found: list[str] = []
        for table, column, is_binary in columns:
            shown = f'"{column}"' if is_binary else f'"{column}"::text'
            values = session.scalars(text(f'SELECT {shown} FROM "{table}" WHERE "{column}" IS NOT NULL')).all()
            found += [value.decode(errors="replace") if is_binary else value for value in values]
    return "\n".join(found).lower()


def without_others(found: str) -> str:
    """Two people have addresses that hold this person's, or a part of it; theirs are left alone."""
    return found.replace(f"x{EMAIL}", "").replace("xother@bücher.example", "")


def say(database: Database, key: str, response: dict[str, Any], arguments: object = "") -> None:
    """An answer that was kept under a key."""
    with database.transaction("answer") as session:
        assert idempotency.replay(session, key=key, tool="t", request_hash=f"h{arguments}") is None
        idempotency.keep(session, key=key, response=response)


def deliver(database: Database, *bodies: str, status: DeliveryStatus = DeliveryStatus.RECORDED) -> None:
    """Requests of a provider, which were understood or not."""
    requests = [NewDelivery("brevo", body.encode(), sha256(body.encode()).digest(), NOW) for body in bodies]
    with database.transaction("deliver") as session:
        assert deliveries.store(session, deliveries=requests) == [StoreVerdict.STORED] * len(bodies)
        settled = [
            Settled(delivery.id, status, error="unknown" if status is DeliveryStatus.FAILED else None)
            for delivery in deliveries.next_waiting(session, limit=len(bodies))
        ]
        deliveries.settle(session, settled=settled, now=NOW)


def full_life(database: Database) -> tuple[UUID, UUID, UUID, UUID]:
    """A person with traces in every place; (contact, campaign, an ended enrollment, an open one)."""
    one, two = new_scene(database, 2), new_scene(database, 1)
    (mine,) = take_in(database, one.campaign_id, ContactRef(None, PERSON))
    assert mine.contact_id is not None
    assert mine.enrollment_id is not None
    payload = {"from": f"Zoë <{EMAIL}>", "bounce_type": "soft", "nick": "plover"}
    record(
        database,
        event(EventType.SENT, mine.enrollment_id, step_number=1, provider="ses", provider_message_id=f"m1 {EMAIL}"),
        event(EventType.SENT, mine.enrollment_id, step_number=1, provider="ses", provider_message_id=f"m2 {EMAIL}"),
        event(EventType.BOUNCED, mine.enrollment_id, step_number=1, provider_event_id=f"e1-{EMAIL}", metadata=payload),
        event(EventType.OPENED, mine.enrollment_id, step_number=1, metadata={"bounce_type": "plover"}),
        event(EventType.REPLIED, mine.enrollment_id, step_number=1, metadata={"text": "I am Zoë Quux"}),
    )
    (open_one,) = take_in(database, two.campaign_id, ContactRef(mine.contact_id, ContactFields()))
    assert open_one.enrollment_id is not None
    lost: dict[str, Any] = {"event_type": EventType.OPENED, "channel": Channel.EMAIL, "occurred_at": NOW}
    record(
        database,
        NewEvent(**lost, campaign_id=uuid4(), email=EMAIL, provider_event_id="o1", metadata={"nick": "plover"}),
        NewEvent(**lost, provider_message_id="unknown", provider_event_id="o2", metadata={"to": EMAIL.upper()}),
        NewEvent(**lost, provider_message_id=f"unknown {EMAIL}", provider_event_id="o3"),
        NewEvent(**lost, provider_message_id="theirs", provider_event_id="o4", metadata={"to": f"x{EMAIL}"}),
    )
    with database.transaction("other traces") as session:
        session.execute(
            text("UPDATE campaign_actions SET error = 'Zoë Quux said no' WHERE enrollment_id = :id"),
            {"id": mine.enrollment_id},
        )
        session.execute(
            text('UPDATE campaign_enrollments SET metadata = \'{"nick": "plover"}\' WHERE id = :id'),
            {"id": mine.enrollment_id},
        )
        # A message of theirs, as a claim keeps it.
        session.execute(
            text("""
                WITH made AS (
                    INSERT INTO messages (id, direction, channel, instance_id, enrollment_id, action_id, subject,
                                          occurred_at)
                    SELECT gen_random_uuid(), 'out', channel, instance_id, enrollment_id, id, 'Zoë, a question', :now
                    FROM campaign_actions WHERE enrollment_id = :id RETURNING id
                )
                INSERT INTO message_bodies (message_id, body) SELECT id, 'Dear Ms Quux of SecretCorp' FROM made
            """),
            {"id": mine.enrollment_id, "now": NOW},
        )
        # By another program: suppress() would stop the enrollment that is to be found open.
        session.execute(
            text("""
                INSERT INTO suppressions (id, linkedin_url, reason, source)
                VALUES (:id, :url, 'manual', 'Zoë Quux rang up')
            """),
            {"id": uuid4(), "url": LINK},
        )
    deliver(
        database,
        json.dumps({"email": EMAIL, "nick": "plover"}),
        json.dumps({"to": [EMAIL.upper()]}, ensure_ascii=False),
        json.dumps({"Message": json.dumps({"to": EMAIL})}),
        json.dumps({"profile": LINK}).replace("/", "\\/"),
        json.dumps({"sales_enrollment_id": str(mine.enrollment_id), "nick": "plover"}),
    )
    deliver(database, json.dumps({"odd": EMAIL}), status=DeliveryStatus.FAILED)
    deliver(database, '{"to": "somebody.else@example.com"}')
    session_answers = {"contact": {"id": str(mine.contact_id), "first_name": "Zoë"}, "note": "a\nzoë.quux@x.example"}
    say(database, "by id", session_answers)
    say(database, "by email", {"rows": [{"email": EMAIL, "company": "SecretCorp"}]})
    say(database, "by profile", {"rows": [{"linkedin_url": LINK, "title": "Sommelier"}]})
    say(database, f"made of {EMAIL}", {"rows": []})
    say(database, "another's", {"rows": [{"email": f"x{EMAIL}".replace("zoë.quux", "other")}]})
    return mine.contact_id, one.campaign_id, mine.enrollment_id, open_one.enrollment_id
