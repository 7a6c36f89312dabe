"""Holds the leases of this process on mailboxes, and renews them on a thread of its own."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Self
from uuid import UUID

from db.domain.errors import LeaseLost, StoreUnavailable
from db.domain.mailboxes import LeaseRole
from db.services.mail import leases
from mcp_server.process import unexpected
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session

_PATIENCE = 5.0

logger = logging.getLogger(__name__)


class Lease:
    """The right of this process to read a mailbox, or to send from it."""

    def __init__(self, mailbox_id: UUID, role: LeaseRole, token: UUID, when_lost: Callable[[], object]) -> None:
        self.mailbox_id = mailbox_id
        self.role = role
        self.token = token
        self.is_lost = False
        self._when_lost = when_lost

    def hold(self, session: "Session") -> None:
        """Locks and renews the lease for this transaction. LeaseLost if another process has it."""
        leases.hold(session, mailbox_id=self.mailbox_id, role=self.role, token=self.token)

    def check(self) -> None:
        """Raises LeaseLost if it is known that another process has the lease, or may have it soon."""
        if self.is_lost:
            raise LeaseLost("Another process uses this mailbox now.")

    def lose(self) -> None:
        """Notes that another process has it, or that it can't be renewed."""
        self.is_lost = True
        self._when_lost()


class LeaseKeeper:
    """One for a process. Use it as a context: at its end no lease is renewed any more."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._holder = f"{socket.gethostname()} {os.getpid()}"
        self._held: dict[UUID, Lease] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="mail-leases", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(_PATIENCE)

    def take(self, mailbox_id: UUID, role: LeaseRole, *, when_lost: Callable[[], object]) -> Lease | None:
        """Returns a lease; None while another process holds it. `when_lost` is called on another thread if another
        process takes it, which happens only if this one could not renew it in time, or if renewing it fails."""

        def work(session: "Session") -> UUID | None:
            return leases.take(session, mailbox_id=mailbox_id, role=role, holder=self._holder)

        token = self._app.run("take a mailbox", work)
        if token is None:
            return None
        lease = Lease(mailbox_id, role, token, when_lost)
        with self._lock:
            self._held[token] = lease
        return lease

    def give_back(self, lease: Lease) -> None:
        """Ends a lease. It runs out by itself where the database can't be reached."""
        with self._lock:
            self._held.pop(lease.token, None)

        def work(session: "Session") -> None:
            leases.give_back(session, mailbox_id=lease.mailbox_id, role=lease.role, token=lease.token)

        if not lease.is_lost:
            self._app.run("give a mailbox back", work)

    def _loop(self) -> None:
        while not self._stopping.wait(leases.RENEW_SECONDS):
            try:
                self._renew()
            except StoreUnavailable:
                continue  # what can't be renewed runs out, and whoever writes finds out
            except Exception as error:  # noqa: BLE001  nothing may end the loop, and the text may hold personal data
                unexpected.kept(logger, "to renew the leases of mailboxes", error)
                with self._lock:
                    held = set(self._held)
                self._lose(held)

    def _renew(self) -> None:
        with self._lock:
            held = dict(self._held)
        if not held:
            return
        kept = self._app.run("renew mailboxes", lambda session: leases.renew(session, tokens=held.keys()))
        self._lose(held.keys() - kept)

    def _lose(self, tokens: Collection[UUID]) -> None:
        """Tells those who hold these leases that they are lost."""
        for token in tokens:
            with self._lock:
                lost = self._held.pop(token, None)
            if lost is not None:
                lost.lose()
