"""Builds indexes while others read and write the table.

Such a build takes two reads of the table, and waits for the transactions that are open when it begins. It can be in no
transaction of its own, so a migration runs from its start if it was interrupted: all that it does may have been done.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op


@contextmanager
def outside_of_transactions() -> Generator[None]:
    """Commits what the migration has done so far. What is done in the block is committed statement by statement."""
    with op.get_context().autocommit_block():
        yield


def build(
    name: str,
    table: str,
    columns: Sequence[str],
    *,
    unique: bool = False,
    where: str | None = None,
    using: str = "btree",
) -> None:
    """Builds an index of columns or expressions, of the rows for which `where` holds. What is left of a build that
    failed is replaced."""
    op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
    op.create_index(
        name,
        table,
        [sa.text(column) for column in columns],
        unique=unique,
        postgresql_concurrently=True,
        postgresql_using=using,
        postgresql_where=None if where is None else sa.text(where),
    )
