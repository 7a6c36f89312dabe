"""The transaction that the running code is in, so that nested calls join it and every log line can name it."""

from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Transaction:
    """One open transaction: `id` stands in every log line and error that concerns it."""

    id: str
    description: str
    session: Session
    is_careful: bool = False
    """It repeats one that failed on counters that no longer fit their rows."""


current: ContextVar[Transaction | None] = ContextVar("transaction", default=None)


def is_careful() -> bool:
    """Returns whether the transaction that the caller is in has to expect counters that don't fit."""
    transaction = current.get()
    return transaction is not None and transaction.is_careful


def transaction_id() -> str | None:
    """Returns the id of the transaction that the caller is in, or None."""
    transaction = current.get()
    return transaction.id if transaction else None
