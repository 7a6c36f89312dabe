"""What a failure of the database means for the caller: try again, give up with a reason, or a fault of ours."""

from psycopg import errors as pg
from sqlalchemy.exc import DBAPIError, TimeoutError as PoolTimeout

from db.domain.errors import Busy, InvalidInput, NotPermitted, Outdated, SalesAutomationError, StoreUnavailable

# Two calls insert the same row at once: the one that repeats its work finds the other's row.
_RETRYABLE = (pg.DeadlockDetected, pg.SerializationFailure, pg.UniqueViolation)

_MEANINGS: dict[type[pg.Error], tuple[type[SalesAutomationError], str]] = {
    pg.DeadlockDetected: (Busy, "Other calls kept changing the same rows. Nothing was done: call again."),
    pg.SerializationFailure: (Busy, "Other calls kept changing the same rows. Nothing was done: call again."),
    pg.LockNotAvailable: (
        Busy,
        "Another call holds these rows for too long. Nothing was done: call again in a moment.",
    ),
    pg.QueryCanceled: (
        Busy,
        "The database took too long and was stopped. Nothing was done: ask for less, or call again.",
    ),
    pg.IdleInTransactionSessionTimeout: (
        Busy,
        "The work in between took too long, and the database ended it. Nothing was done: call again in a moment.",
    ),
    pg.TooManyConnections: (Busy, "The database has no connection left. Nothing was done: call again in a moment."),
    pg.ReadOnlySqlTransaction: (NotPermitted, "This server is read-only, or its database. Nothing was done."),
    pg.InsufficientPrivilege: (
        NotPermitted,
        "The role that this server has in the database lacks a right. Nothing was done: an operator must grant it.",
    ),
    pg.UntranslatableCharacter: (
        InvalidInput,
        "A text holds a character that can't be stored, such as NUL. Remove it.",
    ),
    pg.CharacterNotInRepertoire: (InvalidInput, "A text holds a character that can't be stored. Remove it."),
    pg.DiskFull: (StoreUnavailable, "The database's disk is full. Nothing was done: an operator must free space."),
}


def is_lost_connection(error: DBAPIError) -> bool:
    """Returns whether the server went away: a crash, a restart, a cut network."""
    return error.connection_invalidated or (isinstance(error.orig, pg.OperationalError) and error.orig.sqlstate is None)


def is_retryable(error: DBAPIError | Outdated) -> bool:
    """Returns whether the transaction changed nothing and the same work may succeed now."""
    if isinstance(error, Outdated):
        return True
    return isinstance(error.orig, _RETRYABLE) or is_lost_connection(error)


_COUNTERS = frozenset({"campaign_metrics", "campaign_enrollment_totals"})


def is_of_counters(error: DBAPIError) -> bool:
    """Returns whether a change of a counter broke a constraint, because the counter did not match the rows that it sums
    up."""
    if isinstance(error.orig, pg.CheckViolation):
        return error.orig.diag.table_name in _COUNTERS
    return isinstance(error.orig, pg.NumericValueOutOfRange)


def meaning(error: DBAPIError | PoolTimeout | Outdated, reference: str) -> SalesAutomationError | None:
    """Returns the error to show instead of `error`, with the `reference` by which an operator finds it in the log. None
    if it is a bug of this program, or if `error` already says what it means."""
    if isinstance(error, Outdated):
        return None
    if isinstance(error, PoolTimeout):
        return Busy(f"All database connections are in use. Nothing was done: call again in a moment. {reference}")
    for kind, (shown, text) in _MEANINGS.items():
        if isinstance(error.orig, kind):
            return shown(f"{text} {reference}")
    if is_lost_connection(error) or isinstance(error.orig, pg.OperationalError):
        return StoreUnavailable(
            f"The database can't be reached now. Nothing was done: call again in a moment. {reference}"
        )
    return None
