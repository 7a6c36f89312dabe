"""Four servers send from the same mailboxes, beside agents: no limit is broken, and each person has one mailbox."""

from sqlalchemy import text

from db.postgres.database import Database
from tests.support.campaigns import assert_counters_are_exact
from tests.support.outgoing import ANN, BEN, CLEO, connect, running
from tests.support.races import race

_A_DAY = text("""
    SELECT sender, (reserved_at AT TIME ZONE 'UTC')::date, count(*) FROM campaign_actions
    WHERE channel = 'email' GROUP BY 1, 2
""")
_AN_HOUR = text("""
    SELECT sender, date_trunc('hour', reserved_at, 'UTC'), count(*) FROM campaign_actions
    WHERE channel = 'email' GROUP BY 1, 2
""")
_MAILBOXES_OF_PEOPLE = text("""
    SELECT e.id FROM campaign_enrollments e JOIN messages m ON m.enrollment_id = e.id
    GROUP BY e.id, e.mailbox_id HAVING count(DISTINCT m.mailbox_id) > 1 OR min(m.mailbox_id::text) <> e.mailbox_id::text
""")
_GAPS = text("""
    SELECT min(gap) FROM (
        SELECT reserved_at - lag(reserved_at) OVER (ORDER BY reserved_at) AS gap FROM campaign_actions
        WHERE sender = :address
    ) sent
""")
_PEOPLE = text("""
    SELECT m.address, count(*) FROM campaign_enrollments e JOIN mailboxes m ON m.id = e.mailbox_id
    WHERE e.instance_id = :campaign GROUP BY 1
""")
DAILY, HOURLY = {ANN: 20, BEN: 12, CLEO: 9}, {ANN: 4, BEN: 3, CLEO: 9}


def test_four_servers_keep_to_the_limits_of_each_mailbox(database: Database, database_url: str) -> None:
    ids = [
        str(connect(database, address, daily_limit=DAILY[address], hourly_limit=HOURLY[address], **gap))
        for address, gap in ((ANN, {}), (BEN, {}), (CLEO, {"min_gap_seconds": 3600}))
    ]
    one = running(database, ANN, BEN, CLEO, people=40)
    running(database, CLEO, BEN, people=15, sent_by="agent")
    running(database, people=15, senders={"email": {"account": ANN, "daily_limit": 18}})
    orders = [ids, ids[::-1], ids[1:] + ids[:1], ids]
    works = [{"do": "send", "mailboxes": order, "rounds": 30} for order in orders]
    handed = [action_id for answer in race(database_url, *works) for action_id in answer]
    assert len(handed) == len(set(handed))
    with database.transaction("look") as session:
        for address, day, count in session.execute(_A_DAY):
            assert count <= min(DAILY[address], 18 if address == ANN else 99), (address, day)
        for address, hour, count in session.execute(_AN_HOUR):
            assert count <= HOURLY[address], (address, hour)
        assert session.scalars(_MAILBOXES_OF_PEOPLE).all() == []
        assert session.scalar(_GAPS, {"address": CLEO}).total_seconds() >= 3600
        assert len(handed) > 60
        people = dict(tuple(row) for row in session.execute(_PEOPLE, {"campaign": one}))
        assert sum(people.values()) <= 40
    assert_counters_are_exact(database)
