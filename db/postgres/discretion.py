"""Errors of the driver without what a row or a parameter held.

PostgreSQL says of a row that it refuses what the row holds (`DETAIL: Failing row contains ...`, `Key (email)=(...)`),
and of a value that it can't read the value itself. Whoever logs or shows the error would show that: an address, a text,
a lease token. So the words are taken out where the error leaves the driver, before anybody has it.
"""

from typing import Final

from psycopg import Error
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

# Of these classes of SQLSTATE the first line names tables, constraints and settings: connections, constraints,
# transactions, permissions and unknown names, resources, locks, operators, the system. Of others it may repeat values.
_NAMES_NO_VALUE: Final = frozenset({"08", "23", "25", "28", "40", "42", "53", "54", "55", "57", "58"})


def hide_contents(error: Error) -> None:
    """Removes what an error says of rows and values; its `diag` and its class stay."""
    told = error.diag
    if told.sqlstate is None:
        return  # it is not of the server: a connection that can't be opened, say
    names_none = told.message_primary is not None and told.sqlstate[:2] in _NAMES_NO_VALUE
    said = told.message_primary if names_none else f"{type(error).__name__}, SQLSTATE {told.sqlstate}"
    error.args = (said, *error.args[1:])


def watch_errors(engine: Engine) -> None:
    """Hides it in errors that come from no statement too, such as those of a commit."""
    event.listen(engine, "handle_error", _hide)


def _hide(context: ExceptionContext) -> None:
    error, shown = context.original_exception, context.sqlalchemy_exception
    if isinstance(error, Error):
        hide_contents(error)
        if shown is not None:
            shown.args = (f"({type(error).__module__}.{type(error).__name__}) {error}",)
