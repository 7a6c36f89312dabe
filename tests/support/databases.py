"""Databases as tests need them."""

from sqlalchemy import text

from db.models import Base
from db.postgres.database import Database

_IS_LARGE = text("SELECT count(*) > 3000 FROM (SELECT FROM campaign_enrollments LIMIT 3001) first")


def empty(database: Database) -> None:
    """Delete every row of every table."""
    tables = list(reversed(Base.metadata.sorted_tables))
    with database.transaction("empty") as session:
        if session.scalar(_IS_LARGE):  # where the foreign keys of each row would take many seconds
            session.execute(text(f"TRUNCATE {', '.join(table.name for table in tables)}"))
            return
        # The plans of the foreign keys were made for tables of a few rows, and a test may leave thousands.
        session.execute(text("DISCARD PLANS"))
        for table in tables:
            session.execute(table.delete())
