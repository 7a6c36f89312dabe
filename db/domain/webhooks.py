"""A webhook's request as it is kept, and what its events become. No provider is known here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from db.domain.events import NewEvent
from db.domain.states import DeliveryStatus


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A request that was verified. `body` is UTF-8; `body_hash` is its SHA-256 as it came, which may hold a secret
    that `body` no longer does. `delivery_id` is the provider's id of the request, where it gives one."""

    provider: str
    body: bytes = field(repr=False)
    body_hash: bytes
    received_at: datetime
    delivery_id: str | None = None
    status: DeliveryStatus = DeliveryStatus.WAITING


class StoreVerdict(StrEnum):
    """KNOWN: the same request was stored before. REUSED: its id belongs to a request with another body."""

    STORED = "stored"
    KNOWN = "known"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A request as the normaliser gets it."""

    id: UUID
    provider: str
    delivery_id: str | None
    received_at: datetime
    body: bytes = field(repr=False)
    body_hash: bytes


@dataclass(slots=True)
class Normalised:
    """What a request says: events; the reasons why others are none; and how many of its parts are not of interest."""

    events: list[NewEvent] = field(default_factory=list[NewEvent])
    invalid: list[str] = field(default_factory=list[str])
    ignored: int = 0


Normalise = Callable[[StoredDelivery], Normalised]
"""Raises nothing: what can't be read is a reason in `invalid`."""


@dataclass(slots=True)
class Settled:
    """What became of one request, in counts of its events."""

    id: UUID
    status: DeliveryStatus
    recorded: int = 0
    duplicate: int = 0
    orphaned: int = 0
    invalid: int = 0
    ignored: int = 0
    error: str | None = None
    mentions_erased: bool = False
    """Somebody in it was erased, so its body must go."""
