"""The position of a job in the index of the queue; schema.py describes the layout."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from db.domain.errors import InvalidInput
from db.domain.jobs import JobPriority, JobType
from db.local.values import word

_TIME_BITS: Final = 56
_SCHEDULED: Final = 32

_STARTS: Final = range(4, _SCHEDULED, 4)
"""The first lane of each type that the layout has room for."""
# Stored in every slot.
_LANES: Final[Mapping[str, int]] = MappingProxyType(dict(zip(JobType, _STARTS, strict=False)))
RANKS: Final[Mapping[JobPriority, int]] = MappingProxyType(
    {JobPriority.HIGH: 0, JobPriority.NORMAL: 1, JobPriority.LOW: 2}
)
PRIORITIES: Final[Mapping[int, JobPriority]] = MappingProxyType({rank: priority for priority, rank in RANKS.items()})
SCHEDULED_LANES: Final = tuple(_SCHEDULED + rank for rank in RANKS.values())
_NO_TYPES: Final = (None,) * (len(_STARTS) - len(_LANES))
ALL_LANES: Final[tuple[int | None, ...]] = (*(lane << _TIME_BITS for lane in _LANES.values()), *_NO_TYPES)


def slot_of(job_type: str, rank: int, run_at: int, now: int) -> int:
    """Returns a pending job's slot. Times are microseconds since 1970, below 2 ** 56 (the year 4253)."""
    lane = _LANES[job_type] + rank if run_at <= now else _SCHEDULED + rank
    return lane << _TIME_BITS | run_at


def lanes_of(types: Collection[str] | None) -> tuple[int | None, ...]:
    """Returns where the lanes of each wanted type start; None for the other types, and for types that may be added."""
    if types is None:
        return ALL_LANES
    if not types:
        raise InvalidInput("types is empty: name at least one type, or leave it out to claim any.")
    wanted = {word(JobType, "types", name) for name in types}
    return (*(lane << _TIME_BITS if name in wanted else None for name, lane in _LANES.items()), *_NO_TYPES)
