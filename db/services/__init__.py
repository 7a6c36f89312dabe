"""Set-based operations on the database, one module per noun. Each takes a `session`, commits nothing, and raises.

The modules are imported when they are first used, not before: a server answers `initialize` without SQLAlchemy.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as Session

    from db.services import (
        actions as actions,
        audit as audit,
        campaigns as campaigns,
        claims as claims,
        completions as completions,
        contacts as contacts,
        enrollments as enrollments,
        erasure as erasure,
        events as events,
        explaining as explaining,
        health as health,
        idempotency as idempotency,
        keys as keys,
        linting as linting,
        maintenance as maintenance,
        metrics as metrics,
        orphans as orphans,
        recounting as recounting,
        standing as standing,
        suppressions as suppressions,
        templates as templates,
        tickets as tickets,
        tokens as tokens,
        unsubscribing as unsubscribing,
        vitals as vitals,
        watching as watching,
        webhooks as webhooks,
    )


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(name)
    return import_module(f"{__name__}.{name}")
