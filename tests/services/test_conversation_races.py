"""Four agents claim in five campaigns of the same 10,000 people: no two campaigns write to a person at a time."""

from uuid import UUID

from sqlalchemy import text

from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.ops import settings
from tests.support.campaigns import assert_counters_are_exact, make_campaign
from tests.support.patience import PATIENCE
from tests.support.races import race

PEOPLE, CAMPAIGNS = 10_000, 5
_CONTACTS = text("""
    INSERT INTO contacts (id, email)
    SELECT gen_random_uuid(), format('p%s@example.com', n) FROM generate_series(1, CAST(:people AS int)) AS n
""")
# Each person is in three of the campaigns. Claims meet the same people in an order of their own.
_ENROLL = text("""
    INSERT INTO campaign_enrollments (instance_id, id, contact_id, status, next_action_at, delay_from)
    SELECT i.id, gen_random_uuid(), c.id, 'active', i.started_at, i.started_at
    FROM (SELECT id, started_at, row_number() OVER (ORDER BY id) AS place FROM campaign_instances) i
    JOIN contacts c ON (CAST(substr(c.email, 2, strpos(c.email, '@') - 2) AS int) + i.place) % 5 < 3
""")
_TOTALS = text("""
    INSERT INTO campaign_enrollment_totals (instance_id, status, total)
    SELECT instance_id, status, count(*) FROM campaign_enrollments GROUP BY 1, 2
""")
_TOUCHED_BY_TWO = text("""
    SELECT e.contact_id FROM campaign_enrollments e
    JOIN campaign_actions a ON a.instance_id = e.instance_id AND a.enrollment_id = e.id
    WHERE a.status IN ('sent', 'claimed') GROUP BY 1 HAVING count(DISTINCT e.instance_id) > 1
""")
_OTHER_HOLDER = text("""
    SELECT e.contact_id FROM campaign_enrollments e
    JOIN campaign_actions a ON a.instance_id = e.instance_id AND a.enrollment_id = e.id
    LEFT JOIN conversations v ON v.contact_id = e.contact_id
    WHERE a.status IN ('sent', 'claimed') AND v.enrollment_id IS DISTINCT FROM e.id
""")
_LEFT_OUT = text("""
    SELECT c.id FROM contacts c WHERE NOT EXISTS (
        SELECT FROM campaign_enrollments e
        JOIN campaign_actions a ON a.instance_id = e.instance_id AND a.enrollment_id = e.id WHERE e.contact_id = c.id
    )
""")
_SENDERS = text("SELECT count(DISTINCT instance_id) FROM campaign_actions WHERE status = 'sent'")


def test_no_two_campaigns_write_to_a_person_at_a_time(database: Database, database_url: str) -> None:
    one_step = [EmailStep(1, "Hello", "Nice to meet you.")]
    with database.transaction("scene") as session:
        settings.update(session, days_between_campaigns=7)
        ids = [make_campaign(session, email_steps=one_step) for _ in range(CAMPAIGNS)]
        session.execute(_CONTACTS, {"people": PEOPLE})
        session.execute(_ENROLL)
        session.execute(_TOTALS)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    orders = [[*ids[first:], *ids[:first]] for first in range(4)]
    works = [{"do": "write", "campaigns": [str(id_) for id_ in order]} for order in orders]
    answers = race(database_url, *works, patience=3 * PATIENCE)  # half a minute of two processors
    handed = [UUID(enrollment_id) for answer in answers for enrollment_id in answer]
    with database.transaction("look") as session:
        assert session.scalars(_TOUCHED_BY_TWO).all() == []
        assert session.scalars(_OTHER_HOLDER).all() == []
        assert session.scalars(_LEFT_OUT).all() == []
        assert (session.scalar(_SENDERS) or 0) >= 4
    assert len(handed) == len(set(handed)) >= PEOPLE
    assert_counters_are_exact(database)
