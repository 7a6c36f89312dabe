"""Erases a person from both stores: from the database in one transaction, and then from the local store.

After a crash between the two, the local store still holds the person's addresses, while the database only has their
hashes. So each erasure asks the database which addresses of the local store were erased, and removes all of these. This
also finishes earlier erasures that were interrupted.
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
    """Erases a person from the database and from the local store. NotFound if neither knows the person.

    StoreUnavailable if the local store could not be cleaned after the database: call again. `note` is called in the
    transaction, with the id of the person.
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
        # Only a job or the cache knows these addresses, and they must not come back from there.
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
        messages=erased.messages,
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
