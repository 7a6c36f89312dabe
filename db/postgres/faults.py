"""Faults of this program or of a row. Each has an id, which is in the log, in the answer, and in the row concerned.

A log line says where a fault is, and never shows contents of a row, which may be an address, a text or a lease token.
"""

import logging
from pathlib import Path
from secrets import token_hex

from psycopg import Error, errors as pg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from db.domain.errors import SalesAutomationError
from db.postgres import failures
from db.postgres.context import transaction_id

logger = logging.getLogger("db.postgres")

# Classes of SQLSTATE for a row that the database refuses. All others concern the statement, the server or other
# callers.
_OF_ROWS = (pg.IntegrityError, pg.DataError, pg.InternalError)


def note(what: str, error: BaseException | None = None, **facts: str | int) -> str:
    """Logs a fault, with ids and numbers as its `facts`. Returns its id in the log."""
    fault = token_hex(6)
    logger.error(what, extra={"fault": fault, "transaction": transaction_id(), **facts, **_cause(error)})
    return fault


def is_of_a_row(error: Exception) -> bool:
    """Returns whether rows caused the error: the same work fails again with them, and may succeed without them."""
    if isinstance(error, DBAPIError):
        return isinstance(error.orig, _OF_ROWS) and not failures.is_retryable(error)
    return not isinstance(error, SalesAutomationError | SQLAlchemyError | MemoryError)


def _cause(error: BaseException | None) -> dict[str, object]:
    if error is None:
        return {}
    if isinstance(error, DBAPIError) and isinstance(error.orig, Error):
        told = error.orig.diag
        named = {"sqlstate": told.sqlstate, "constraint": told.constraint_name, "table": told.table_name}
        return {"error": type(error.orig).__name__, **{name: value for name, value in named.items() if value}}
    return {"error": type(error).__name__, "where": _where(error)}


def _where(error: BaseException) -> str | None:
    """Returns the line that raised the error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else None
