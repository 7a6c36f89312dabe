"""What `bench.large` fills a database with is what the services would have left: every rule holds, and every sum."""

from sqlalchemy import text

from bench.large_fill import fill
from bench.postgres import NOW
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from tests.support.walk.checks import look

PEOPLE = 800
_KEYS = text("""
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'
""")


def test_the_rows_of_the_large_benchmark_keep_every_rule_and_every_sum(fresh_database: str) -> None:
    filled = fill(fresh_database, PEOPLE)
    database = Database(DatabaseConfig(url=filled.url))
    try:
        found = look(database, NOW)
        assert len(found.enrollments) == PEOPLE
        assert not found.wrong, found.wrong
        with database.transaction("keys") as session:
            for table, name, rule in session.execute(_KEYS).all():  # they were not looked at by COPY
                session.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
                session.execute(text(f"ALTER TABLE {table} ADD CONSTRAINT {name} {rule}"))
            events, messages = session.execute(
                text("SELECT (SELECT count(*) FROM campaign_events), (SELECT count(*) FROM messages)")
            ).one()
        assert events == 10 * PEOPLE
        assert PEOPLE <= messages <= 1.05 * PEOPLE
    finally:
        database.close()
