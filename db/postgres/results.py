"""Names for the columns of a statement that is written as text."""

from typing import Any

from sqlalchemy import ColumnClause, column


def named(*names: str) -> tuple[ColumnClause[Any], ...]:
    """Returns what `text(...).columns()` takes: as many names as the statement has columns, in their order.

    With them SQLAlchemy makes out once what a result consists of. Without, it does so at each execution, which for a
    row of thirty columns takes longer than the statement.
    """
    return tuple(column(name) for name in names)
