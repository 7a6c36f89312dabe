"""UUIDv7 keys: ordered by time, so that a new row lands at the right edge of its index (RFC 9562, section 5.7)."""

import os
import time
from datetime import datetime
from uuid import UUID

_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_RAND_A = ((1 << 12) - 1) << 64
_RAND_B = (1 << 62) - 1


def new_id() -> UUID:
    """Returns one UUIDv7 of the wall clock's millisecond."""
    return new_ids(1)[0]


def first_id(moment: datetime) -> UUID:
    """Returns the smallest UUIDv7 of the millisecond of `moment`: what was made since then is not below it."""
    return UUID(int=int(moment.timestamp() * 1_000) << 80 | _VERSION_AND_VARIANT)


def new_ids(count: int) -> list[UUID]:
    """Returns `count` UUIDv7 in ascending order, from one read of the clock and of the system's random source."""
    millisecond = (time.time_ns() // 1_000_000) << 80
    random = os.urandom(10 * count)
    tails = sorted(int.from_bytes(random[at : at + 10], "big") & (_RAND_A | _RAND_B) for at in range(0, 10 * count, 10))
    return [UUID(int=millisecond | _VERSION_AND_VARIANT | tail) for tail in tails]
