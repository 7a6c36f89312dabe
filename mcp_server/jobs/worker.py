"""Runs the built-in jobs of the queue one at a time, and maintenance once an hour, on a thread of its own."""

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from typing import Final

from db.domain.errors import LeaseLost, SalesAutomationError, StoreUnavailable
from db.domain.jobs import ClaimedJob
from mcp_server.process import unexpected
from mcp_server.process.app import App

LEASE_SECONDS: Final = 120
POLL_SECONDS: Final = 1.0
MAINTENANCE_SECONDS: Final = 3_600.0
_PATIENCE: Final = 30.0

logger = logging.getLogger(__name__)


class _LeaveError(Exception):
    """Ends the handler of a job between two steps. `retry`: this server stops, and another may continue the job."""

    def __init__(self, reason: str, *, retry: bool) -> None:
        super().__init__(reason)
        self.retry = retry


class Worker:
    """Start it once in a process, and stop it before the app is closed. It needs no database until there is a job."""

    def __init__(self, app: App, *, lease_seconds: int = LEASE_SECONDS, poll_seconds: float = POLL_SECONDS) -> None:
        self._app = app
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._name = f"built-in {socket.gethostname()} {os.getpid()}"
        self._stopping = threading.Event()
        self._maintained_at: float | None = None
        self._thread = threading.Thread(target=self._loop, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def signal(self) -> None:
        """Tells it to stop, and does not wait."""
        self._stopping.set()

    def stop(self) -> None:
        """Stops after the current step. The job goes back to the queue."""
        self.signal()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def _loop(self) -> None:
        # Not at once: its imports would delay the server's first client.
        is_idle, told = True, ""
        while not self._stopping.wait(self._poll_seconds if is_idle else 0):
            try:
                is_idle = not self._turn()
                self._maintain()
                told = ""
            except StoreUnavailable as error:
                # Log the failure once, since it may last long and the loop runs every second.
                if str(error) != told:
                    told = str(error)
                    logger.error("The worker can't work on the queue: %s", told)  # noqa: TRY400  the text says it all
                is_idle = True
            except Exception as error:  # noqa: BLE001  nothing may end the loop, and the text may hold personal data
                logger.error("The worker could not work on the queue: %s", type(error).__name__)  # noqa: TRY400  see above
                is_idle = True

    def _maintain(self) -> None:
        """Runs maintenance if the database is up and the last run was an hour ago."""
        now = time.monotonic()
        if self._app.open_database is None or (
            self._maintained_at is not None and now < self._maintained_at + MAINTENANCE_SECONDS
        ):
            return
        from mcp_server.jobs.maintenance import maintain  # noqa: PLC0415  see _turn

        self._maintained_at = now
        maintain(self._app)

    def _turn(self) -> bool:
        """Runs the next job. Returns False if there is none."""
        # Imported here, on the worker's thread: see _loop.
        from mcp_server.jobs.base import Work  # noqa: PLC0415
        from mcp_server.jobs.handlers import HANDLERS  # noqa: PLC0415

        jobs = self._app.local().jobs
        job = jobs.claim(
            types=list(HANDLERS), worker_id=self._name, lease_seconds=self._lease_seconds, now=self._app.clock()
        )
        if job is None:
            return False
        try:
            result = HANDLERS[job.type](Work(self._app, job, lambda progress: self._beat(job, progress)))
            jobs.complete(job.id, job.lease_token, result=result, now=self._app.clock())
        except LeaseLost:
            logger.info("Job %s belongs to another worker now", job.id)
        except _LeaveError as left:
            self._fail(job, str(left), retry=left.retry)
        except StoreUnavailable as error:
            self._fail(job, error.for_clients, retry=True)
        except SalesAutomationError as error:
            self._fail(job, error.for_clients, retry=False)
        except Exception as error:  # noqa: BLE001  one job must not stop the others
            self._fail(job, unexpected.kept(logger, f"Job {job.id}", error), retry=True)
        return True

    def _beat(self, job: ClaimedJob, progress: Mapping[str, object]) -> None:
        beat = self._app.local().jobs.heartbeat(job.id, job.lease_token, progress=progress, now=self._app.clock())
        if beat.cancel_requested:
            raise _LeaveError("Cancelled on request.", retry=False)
        if self._stopping.is_set():
            raise _LeaveError("The server stopped; the job goes on with the next.", retry=True)

    def _fail(self, job: ClaimedJob, reason: str, *, retry: bool) -> None:
        try:
            self._app.local().jobs.fail(job.id, job.lease_token, reason, retry=retry, now=self._app.clock())
        except LeaseLost:
            logger.info("Job %s belongs to another worker now", job.id)
