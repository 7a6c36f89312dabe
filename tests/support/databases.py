"""Databases as tests need them."""

from sqlalchemy import text

from db.models import Base
from db.postgres.database import Database


def empty(database: Database) -> None:
    """Delete every row of every table."""
    with database.transaction("empty") as session:
        # The plans of the foreign keys were made for tables of a few rows, and
        # a test may leave many thousands.
        session.execute(text("DISCARD PLANS"))
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
