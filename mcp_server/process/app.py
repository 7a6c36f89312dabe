"""The composition root: one process, one database, one clock."""

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from db.domain.errors import Busy, OutcomeUnknown, StoreUnavailable
from db.postgres.config import DatabaseConfig
from mcp_server.process.bounded import SharedCall
from mcp_server.process.broadcast import Broadcast
from mcp_server.process.group_commit import GroupCommit
from mcp_server.process.settings import Settings

if TYPE_CHECKING:
    from db.domain.access import AuditEntry
    from db.domain.events import NewEvent
    from db.domain.webhooks import NewDelivery, StoreVerdict
    from db.embedded import EmbeddedPostgres
    from db.local.store import LocalStore
    from db.postgres.database import Database
    from db.services import Session
    from db.services.events.record import Outcome
    from db.services.ops.health import Stored
    from db.services.state.harm import Harmed
    from mcp_server.process.telemetry import Telemetry

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

# The first start of the embedded database makes a cluster, which takes seconds on a slow disk.
_PATIENCE = 90.0
_GROUP_MOST = 500
_STOPPING = "This server is stopping. Nothing was done: call again when it is back."


class Recording(NamedTuple):
    """An event to record, and what the audit log is to say of it, given what became of it."""

    event: "NewEvent"
    entry: "Callable[[Outcome], AuditEntry | None]"


class App:
    """What the tools work with. Start it once a process, and close it at the end.

    The database comes up on a thread of its own, so that a client is answered at once; the first call that needs the
    database waits for it, and gets the reason when it can't be had.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] | None = None,
        patience: float = _PATIENCE,
        when_up: Callable[[], None] = lambda: None,
        prepare: "Callable[[Database], None] | None" = None,
    ) -> None:
        """`clock`: None for that of the settings. `patience`: seconds for which a call waits for the database to come
        up; `when_up` is called once it is. `prepare`: what is done with the database before anybody gets it, instead of
        bringing its schema up to date."""
        self.settings = settings
        self.clock = clock or settings.clock()
        self._patience = patience
        self._when_up = when_up
        self._prepare = prepare or self._bring_up_to_date
        self._embedded: EmbeddedPostgres | None = None
        self._database: Database | None = None
        self._local: LocalStore | None = None
        self._failure: StoreUnavailable | None = None
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._embedded_lock = threading.Lock()  # a separate lock, because it is held while a database starts
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self.events: GroupCommit[Recording, Outcome] = GroupCommit(self._record, most=_GROUP_MOST)
        """Single events of callers at the same time, in shared transactions."""
        self.deliveries: GroupCommit[NewDelivery, StoreVerdict] = GroupCommit(self._store, most=_GROUP_MOST)
        """Requests of providers to keep, in shared transactions."""
        self.mailboxes_changed = Broadcast()
        """Set where a mailbox was connected or changed, so that what reads and sends in this process looks at once."""
        self.resolver_rests_until = 0.0
        """By time.monotonic(): the resolver of recipients' domains is not asked before, since it has not answered."""
        self.stored: SharedCall[Stored] = SharedCall(self._read_stored)
        """What the database tells of the system's health."""

    @cached_property
    def telemetry(self) -> "Telemetry":
        """What this process counts. A server makes it with its tools, before there are calls to count."""
        from mcp_server.process.telemetry import Telemetry  # noqa: PLC0415  a client is answered without it

        return Telemetry()

    def start(self) -> None:
        """Begins to open the database in the background. Calling it again while it is under way does nothing.

        StoreUnavailable once the app is closed: nobody would close again what a late call opens.
        """
        with self._lock:
            self._refuse_when_closed()
            if self._database is not None or (self._thread is not None and self._thread.is_alive()):
                return
            self._done.clear()
            self._thread = threading.Thread(target=self._open, name="database-start", daemon=True)
            self._thread.start()

    def database(self) -> "Database":
        """Returns the database, once it is up. StoreUnavailable with the reason; the next call tries again."""
        if self._database is not None:
            return self._database
        self.start()
        if not self._done.wait(self._patience):
            raise StoreUnavailable("The database is still starting. Call again in a minute.")
        if self._database is None:
            raise self._failure.again() if self._failure else StoreUnavailable(_STOPPING)
        return self._database

    def run(
        self,
        description: str,
        work: "Callable[[Session], Result]",
        *,
        read_only: bool = False,
        attempts: int | None = None,
        is_security: bool = False,
    ) -> Result:
        """Runs `work` in one transaction (see Database.run), and then lets the guardrails look at the returned mails
        and complaints in it. An embedded database that is gone is brought back once."""
        from db.services.state import harm  # noqa: PLC0415  a client is answered without it

        database = self.database()
        found: frozenset[Harmed] = frozenset()

        def noting(session: "Session") -> Result:
            nonlocal found
            result = work(session)
            found = harm.noted(session)
            return result

        run = partial(
            database.run, description, noting, read_only=read_only, attempts=attempts, is_security=is_security
        )
        try:
            result = run()
        except (Busy, OutcomeUnknown):
            raise
        except StoreUnavailable:
            if not self._bring_back():
                raise
            result = run()
        if found:
            self._guard(database, found)
        return result

    def _guard(self, database: "Database", harmed: "frozenset[Harmed]") -> None:
        """Pauses what breaks a guardrail. Whatever fails here, the caller's work is done; maintenance looks again."""
        from db.postgres.context import transaction_id  # noqa: PLC0415  a client is answered without it
        from db.services.mail import guardrails  # noqa: PLC0415  as above

        if transaction_id() is not None:
            return  # the transaction around it comes here when it is committed
        now = self.clock()
        try:
            database.run("check guardrails", lambda session: guardrails.check(session, harmed=harmed, now=now))
        except Exception as error:  # noqa: BLE001  see above
            logger.error("The guardrails could not be checked: %s", type(error).__name__)  # noqa: TRY400  as the worker

    def _read_stored(self) -> "Stored":
        from db.services.ops import health  # noqa: PLC0415  a client is answered without it

        now = self.clock()
        return self.run("health", lambda session: health.stored(session, now=now), read_only=True)

    def _record(self, given: "Sequence[Recording]") -> "list[Outcome]":
        from db.services.events import events  # noqa: PLC0415  a client is answered without it
        from db.services.ops import audit  # noqa: PLC0415  as above

        def work(session: "Session") -> "list[Outcome]":
            outcomes = events.record_events(session, events=[recording.event for recording in given])
            entries = [recording.entry(outcome) for recording, outcome in zip(given, outcomes, strict=True)]
            audit.write(session, entries=[entry for entry in entries if entry is not None])
            return outcomes

        return self.run("record_event", work)

    def _store(self, deliveries: "Sequence[NewDelivery]") -> "list[StoreVerdict]":
        from db.services.events.deliveries import store  # noqa: PLC0415  a client is answered without it

        return self.run("store webhooks", lambda session: store(session, deliveries=deliveries))

    def local(self) -> "LocalStore":
        """Returns the store of jobs and cache, opened at the first call. StoreUnavailable says why it can't be."""
        with self._lock:
            self._refuse_when_closed()
            if self._local is None:
                from db.embedded.placing import place_if_waiting  # noqa: PLC0415  see below
                from db.local.store import LocalStore  # noqa: PLC0415  a server that is never asked needs none

                place_if_waiting(self.settings.home)
                self._local = LocalStore.open(self.settings.home, synchronous=self.settings.local_synchronous)
            return self._local

    @property
    def open_database(self) -> "Database | None":
        """The database if it is up; does not wait."""
        return self._database

    @property
    def failure(self) -> str | None:
        """Why the last attempt to open the database failed, for the operator."""
        return None if self._failure is None else str(self._failure)

    def stop(self) -> None:
        """Refuses what is not done yet, and what comes from here on: what is under way is cut off and undone."""
        with self._lock:
            self._is_closed = True
            database = self._database
        self._done.set()
        if database is not None:
            database.stop(_STOPPING)

    def close(self) -> None:
        """Closes the pool and leaves the embedded database, which stops when nobody uses it any more.

        For good: what is called later is refused.
        """
        with self._lock:
            self._is_closed = True
        if self._thread is not None:
            self._thread.join(self._patience)
        if self._local is not None:
            self._local.close()
            self._local = None
        if self._database is not None:
            self._database.close()
            self._database = None
        with self._embedded_lock:
            if self._embedded is not None:
                self._embedded.stop()
                self._embedded = None

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            raise StoreUnavailable(_STOPPING)

    def _bring_back(self) -> bool:
        """Starts an embedded database again that is gone. False where there is none."""
        with self._embedded_lock:
            if self._embedded is None or self._is_closed:
                return False
            self._embedded.start()
            return True

    def _open(self) -> None:
        try:
            self._database = self._connect()
            self._failure = None
            self._when_up()
        except StoreUnavailable as error:
            self._failed(error)
        except Exception as error:
            self._failed(StoreUnavailable(f"The database could not be opened: {type(error).__name__}."))
            logger.info("database start failed", exc_info=True)
        finally:
            self._done.set()

    def _failed(self, reason: StoreUnavailable) -> None:
        self._failure = reason
        sys.stderr.write(f"sales-automation-mcp: {reason}\n")

    def _connect(self) -> "Database":
        # Imported here: they take longer to import than a client should wait for its first answer.
        from db.embedded import EmbeddedPostgres  # noqa: PLC0415
        from db.postgres.database import Database  # noqa: PLC0415

        url = self.settings.database_url
        if url is None:
            self._embedded = self._embedded or EmbeddedPostgres(self.settings.home)
            database = Database.open(self._config(self._embedded.start()))
        else:
            database = Database.open(self._config(url.get_secret_value()))
        try:
            self._prepare(database)
        except BaseException:
            database.close()
            raise
        return database

    def _bring_up_to_date(self, database: "Database") -> None:
        from migrations.runner import ensure_current  # noqa: PLC0415  see _connect

        ensure_current(database.engine, upgrade=self.settings.database_url is None or self.settings.migrate)
        if self.settings.public_url is not None and not self.settings.read_only:
            from db.services.texts import unsubscribe_links  # noqa: PLC0415  see _connect

            # A preview must not write, so the key must exist before.
            database.run("unsubscribe key", unsubscribe_links.make_key)

    def _config(self, url: str) -> DatabaseConfig:
        settings = self.settings
        rootcert = settings.database_sslrootcert
        return DatabaseConfig(
            url=url,
            pool_size=settings.pool_size,
            max_overflow=settings.pool_overflow,
            pool_timeout=settings.pool_timeout,
            statement_timeout=settings.statement_timeout,
            lock_timeout=settings.lock_timeout,
            slow_query=settings.slow_query_seconds,
            start_attempts=settings.start_attempts,
            sslmode=settings.database_sslmode,
            sslrootcert=str(rootcert) if rootcert else None,
            read_only=settings.read_only,
        )
