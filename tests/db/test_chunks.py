"""Upkeep goes in chunks: each finds its rows by an index, however many there are besides, and looks at no more."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.ids import new_ids
from db.postgres.database import Database
from db.services.events import deliveries, orphans
from db.services.ops import audit, idempotency
from tests.support.plans import watched

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MANY = 20_000
LIMIT = 2_000

# Half of each are old. The rows are small, so that a scan looks cheap to the planner.
MADE = {
    "idempotency_keys": """
        INSERT INTO idempotency_keys (key, tool, request_hash, response, created_at)
        SELECT n, 't', repeat('0', 64), '{}', CAST(:now AS timestamptz) - make_interval(days => n % 2 * 40)
        FROM generate_series(1, :many) n
    """,
    "orphaned_events": """
        INSERT INTO orphaned_events (id, reason, event_type, channel, occurred_at, provider_message_id, metadata,
                                     created_at)
        SELECT gen_random_uuid(), 'r', 'opened', 'email', :now, n, '{}',
               CAST(:now AS timestamptz) - make_interval(days => n % 2 * 40)
        FROM generate_series(1, :many) n
    """,
    "webhook_deliveries": """
        INSERT INTO webhook_deliveries (id, provider, received_at, body, body_hash, status, recorded_at)
        SELECT gen_random_uuid(), 'resend', CAST(:now AS timestamptz) - make_interval(days => n % 2 * 40), 'b',
               sha256(CAST(n::text AS bytea)), 'recorded', :now
        FROM generate_series(1, :many) n
    """,
    "audit_log": """
        INSERT INTO audit_log (id, at, actor, tool, outcome)
        SELECT gen_random_uuid(), CAST(:now AS timestamptz) - make_interval(days => n % 2 * 40), 'a', 't', 'ok'
        FROM generate_series(1, :many) n
    """,
}


def expire(session: Session, *, before: datetime, limit: int) -> int:
    return orphans.expire_some(session, before=before, now=NOW, limit=limit).total()


CHUNKS: dict[str, Callable[..., int]] = {
    "idempotency_keys": idempotency.prune_some,
    "orphaned_events": expire,
    "webhook_deliveries": deliveries.forget_some,
    "audit_log": audit.prune_some,
}


@pytest.mark.parametrize("table", CHUNKS)
def test_a_chunk_finds_its_rows_by_an_index_and_is_no_larger_than_it_may_be(database: Database, table: str) -> None:
    def work(session: Session) -> list[str]:
        connection = session.connection()
        session.execute(text(MADE[table]), {"now": NOW, "many": MANY})
        session.execute(text(f"ANALYZE {table}"))
        before = NOW - timedelta(days=30)
        with watched(connection) as seen:
            assert CHUNKS[table](session, before=before, limit=LIMIT) == LIMIT
        ((statement, parameters),) = seen
        plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all()
        assert CHUNKS[table](session, before=before, limit=MANY) == MANY / 2 - LIMIT
        assert CHUNKS[table](session, before=before, limit=LIMIT) == 0
        session.rollback()
        return list(plan)

    plan = "\n".join(database.run("chunk", work))
    assert "Seq Scan" not in plan, plan


def test_what_waits_is_looked_at_a_chunk_at_a_time(database: Database) -> None:
    ids = sorted(new_ids(5))
    with database.transaction("wait") as session:
        for id_ in ids:
            session.execute(
                text("""
                    INSERT INTO orphaned_events (id, reason, event_type, channel, occurred_at, provider_message_id,
                                                 metadata)
                    VALUES (:id, 'r', 'opened', 'email', :now, :message, '{}')
                """),
                {"id": id_, "now": NOW, "message": str(id_)},
            )
        assert orphans.match_some(session, after=ids[0], limit=2) == (0, ids[2])
        assert orphans.match_some(session, after=ids[2], limit=2) == (0, ids[4])
        assert orphans.match_some(session, after=ids[4], limit=2) == (0, None)
