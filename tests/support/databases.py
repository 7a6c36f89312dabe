"""Databases as tests need them."""

from db.models import Base
from db.postgres.database import Database


def empty(database: Database) -> None:
    """Delete every row of every table."""
    with database.transaction("empty") as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
