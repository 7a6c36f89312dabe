"""Removes the contents of rows and parameters from the driver's errors.

When PostgreSQL refuses a row, its error repeats the row (`DETAIL: Failing row contains ...`, `Key (email)=(...)`), and
when it can't read a value, the error repeats the value. A log or an answer with the error would then show an address, a
text or a lease token. So these words are removed where the error leaves the driver.
"""

from typing import Final

from psycopg import Error
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

# In these classes of SQLSTATE the first line only names tables, constraints and settings: connections, constraints,
# transactions, permissions and unknown names, resources, locks, operators, the system. In other classes it may repeat
# values.
_NAMES_NO_VALUE: Final = frozenset({"08", "23", "25", "28", "40", "42", "53", "54", "55", "57", "58"})


def hide_contents(error: Error) -> None:
    """Removes rows and values from an error's text; its `diag` and its class stay."""
    told = error.diag
    if told.sqlstate is None:
        return  # it does not come from the server, as when a connection can't be opened
    names_none = told.message_primary is not None and told.sqlstate[:2] in _NAMES_NO_VALUE
    said = told.message_primary if names_none else f"{type(error).__name__}, SQLSTATE {told.sqlstate}"
    error.args = (said, *error.args[1:])


def watch_errors(engine: Engine) -> None:
    """Does the same for errors that come from no statement, such as those of a commit."""
    event.listen(engine, "handle_error", _hide)


def _hide(context: ExceptionContext) -> None:
    error, shown = context.original_exception, context.sqlalchemy_exception
    if isinstance(error, Error):
        hide_contents(error)
        if shown is not None:
            shown.args = (f"({type(error).__module__}.{type(error).__name__}) {error}",)
