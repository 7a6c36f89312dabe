"""Names for the columns of a statement that is written as text."""

from typing import Any

from sqlalchemy import ColumnClause, column


def named(*names: str) -> tuple[ColumnClause[Any], ...]:
    """Returns what `text(...).columns()` takes: a name for each column of the statement, in order.

    With names, SQLAlchemy analyses the result's columns once. Without them it does so at each execution, which takes
    longer than the statement if a row has thirty columns.
    """
    return tuple(column(name) for name in names)
