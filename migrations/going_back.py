"""Going back to an earlier schema: whole or not at all, and never with a loss that nobody agreed to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from sqlalchemy import Connection, Engine, column, func, select, table, text

from db.domain.errors import Busy, InvalidInput, Refused
from db.models import Base
from migrations import HEAD
from migrations.runner import BASE, PATIENCE, current_revision, run_steps, taking_turn

_OTHERS = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'sales-automation-mcp' AND pid <> pg_backend_pid()
""")
_COLUMNS = text("""
    SELECT c.relname AS table_name, a.attname AS column_name
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relkind = 'r'
      AND c.relname = ANY(:tables)
    ORDER BY c.relname, a.attnum
""")
_NEVER_LOST: Final = frozenset({"updated_at", "created_at"})

Counts = Mapping[str, tuple[int, Mapping[str, int]]]
"""table -> its rows, and column -> how many rows have a value in it."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What the earlier schema has no place for: `count` rows of a table, or values of its column."""

    table: str
    column: str | None
    count: int

    def __str__(self) -> str:
        if self.column is None:
            return f"{self.count:,} {'row' if self.count == 1 else 'rows'} of {self.table}"
        return f"{self.count:,} {'value' if self.count == 1 else 'values'} of {self.table}.{self.column}"


def revisions() -> list[str]:
    """Returns the revisions that this program knows, in order."""
    names = (path.name for path in (resources.files("migrations") / "versions").iterdir())
    return sorted(name[:4] for name in names if name[:4].isdecimal() and name.endswith(".py"))


def move(engine: Engine, revision: str, *, accepts_loss: bool, patience: float = PATIENCE) -> list[Loss]:
    """Brings the schema to `revision` ("base" or an id), forwards or back. Returns what was lost.

    Errors: InvalidInput if there is no such revision; Refused if something would be lost and `accepts_loss` is False,
    or the migrations refuse to go back; Busy while a server uses the database; StoreUnavailable as
    `migrations.runner.migrate`. Then nothing was changed, if it was to go back.
    """
    if revision != BASE and revision not in revisions():
        raise InvalidInput(f"--to: give a revision from {revisions()[0]} to {HEAD}, or {BASE} for an empty database.")
    with taking_turn(engine, patience) as connection:
        stands = current_revision(connection) or ""
        if revision != BASE and revision >= stands:
            run_steps(connection, revision)
            return []
        with connection.begin():
            return _go_back(connection, revision, accepts_loss=accepts_loss)


def _go_back(connection: Connection, revision: str, *, accepts_loss: bool) -> list[Loss]:
    others = connection.scalar(_OTHERS)
    if others:
        raise Busy(
            f"Servers of this version use the database ({others} connections), and could do nothing with an earlier "
            "schema. Stop them, and run this again."
        )
    before = _counts(connection, is_locking=True)
    run_steps(connection, revision)
    lost = _losses(before, _counts(connection, is_locking=False))
    if lost and not accepts_loss:
        raise Refused(
            f"Going back to {revision} loses {', '.join(map(str, lost))}. Nothing was changed. Make a backup first, "
            "and add --accept-loss to go back all the same."
        )
    return lost


def _counts(connection: Connection, *, is_locking: bool) -> Counts:
    columns: dict[str, list[str]] = {}
    for row in connection.execute(_COLUMNS, {"tables": sorted(Base.metadata.tables)}):
        columns.setdefault(row.table_name, []).append(row.column_name)
    if columns and is_locking:
        # Whoever waits for one of them in another order would wait for us, and we for them; the limit ends that.
        connection.execute(text(f"LOCK TABLE {', '.join(columns)} IN ACCESS EXCLUSIVE MODE"))
    return {name: _count(connection, name, names) for name, names in columns.items()}


def _count(connection: Connection, name: str, names: Sequence[str]) -> tuple[int, Mapping[str, int]]:
    counted = [func.count(column(column_name)) for column_name in names]
    rows, *values = connection.execute(select(func.count(), *counted).select_from(table(name))).one()
    return rows, dict(zip(names, values, strict=True))


def _losses(before: Counts, after: Counts) -> list[Loss]:
    lost: list[Loss] = []
    for name, (rows, values) in before.items():
        if name not in after:
            lost.append(Loss(name, None, rows))
            continue
        rows_left, values_left = after[name]
        lost.append(Loss(name, None, rows - rows_left))
        lost += [
            Loss(name, column_name, count)
            for column_name, count in values.items()
            if column_name not in values_left and column_name not in _NEVER_LOST
        ]
    return [loss for loss in lost if loss.count > 0]
