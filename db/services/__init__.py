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
    )
    from db.services import (
        audit as audit,
    )
    from db.services import (
        campaigns as campaigns,
    )
    from db.services import (
        claims as claims,
    )
    from db.services import (
        completions as completions,
    )
    from db.services import (
        contacts as contacts,
    )
    from db.services import (
        enrollments as enrollments,
    )
    from db.services import (
        erasure as erasure,
    )
    from db.services import (
        events as events,
    )
    from db.services import (
        explaining as explaining,
    )
    from db.services import (
        health as health,
    )
    from db.services import (
        idempotency as idempotency,
    )
    from db.services import (
        keys as keys,
    )
    from db.services import (
        linting as linting,
    )
    from db.services import (
        maintenance as maintenance,
    )
    from db.services import (
        metrics as metrics,
    )
    from db.services import (
        orphans as orphans,
    )
    from db.services import (
        recounting as recounting,
    )
    from db.services import (
        standing as standing,
    )
    from db.services import (
        suppressions as suppressions,
    )
    from db.services import (
        templates as templates,
    )
    from db.services import (
        tickets as tickets,
    )
    from db.services import (
        tokens as tokens,
    )
    from db.services import (
        unsubscribing as unsubscribing,
    )
    from db.services import (
        vitals as vitals,
    )
    from db.services import (
        watching as watching,
    )
    from db.services import (
        webhooks as webhooks,
    )


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(name)
    return import_module(f"{__name__}.{name}")
