"""One person out of both stores: the database in one transaction, and then the local store.

Between the two a crash can leave the local store as it was. It holds addresses, and the database by then only their
hashes; so what to take out there is found by asking the database which of the addresses in it were erased. That makes
every call clean up after all that came before it, whoever it is for.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from db.domain.contacts import SuppressionTarget
from db.domain.errors import NotFound, StoreUnavailable
from db.services.erasure import erasure
from mcp_server.process.app import App
from mcp_server.schemas.contacts import EraseAnswer

if TYPE_CHECKING:
    from db.local.erasure import LocalErasure
    from db.services import Session
    from db.services.erasure.erasure import Erased


def erase(
    app: App,
    *,
    contact_id: UUID | None,
    target: SuppressionTarget | None,
    now: datetime,
    note: "Callable[[Session, dict[str, Any]], None]",
) -> EraseAnswer:
    """Erases a person from the database and from the local store. NotFound where neither knows of them.

    StoreUnavailable where the local store could not be cleaned after the database was: call again. `note` is called
    in the transaction, with the id of whom it was about.
    """

    def work(session: "Session", *, even_if_unknown: bool = False) -> "Erased":
        erased = erasure.erase(session, contact_id=contact_id, target=target, even_if_unknown=even_if_unknown, now=now)
        note(session, {"contact_id": erased.contact_id})
        return erased

    try:
        erased = app.run("erase_contact", work)
    except NotFound:
        if target is None or target.value.lower() not in app.local().eraser.addresses():
            raise
        # Known to a job or to the cache alone: they must not come back from there.
        erased = app.run("erase_contact", lambda session: work(session, even_if_unknown=True))
    try:
        local = _erase_local(app, erased, now)
    except StoreUnavailable as error:
        raise StoreUnavailable(
            "The database holds nothing of the person any more, but the local store could not be cleaned: call "
            f"erase_contact again with the same arguments. {error.for_clients}"
        ) from error
    return EraseAnswer(
        contact_id=erased.contact_id,
        erased_at=erased.erased_at,
        was_erased_before=erased.was_erased_before,
        stopped_enrollments=erased.stopped_enrollments,
        suppressions=erased.suppressions,
        events=erased.events,
        orphaned_events=erased.orphaned_events,
        kept_answers=erased.kept_answers,
        webhook_bodies=erased.webhook_bodies,
        jobs=local.jobs,
        cache_entries=local.cache_entries,
    )


def _erase_local(app: App, erased: "Erased", now: datetime) -> "LocalErasure":
    eraser = app.local().eraser
    mentioned = eraser.addresses()
    known = app.run(
        "erased addresses",
        lambda session: erasure.erased_among(session, addresses=mentioned),
        read_only=True,
    )
    ids = [] if erased.contact_id is None else [str(erased.contact_id)]
    return eraser.erase(known | erased.addresses, ids, now=now)
