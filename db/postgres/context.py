"""The current transaction, so that nested calls join it and every log line can name it."""

from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transaction: its `id` is in every log line and error that concerns it."""

    id: str
    description: str
    session: Session
    is_careful: bool = False
    """It repeats one that failed on counters that no longer fit their rows."""


current: ContextVar[Transaction | None] = ContextVar("transaction", default=None)


def is_careful() -> bool:
    """Returns whether the caller's transaction has to expect counters that don't match their rows."""
    transaction = current.get()
    return transaction is not None and transaction.is_careful


def transaction_id() -> str | None:
    """Returns the id of the caller's transaction, or None outside of one."""
    transaction = current.get()
    return transaction.id if transaction else None
