"""A worker whose queue can't be used says why, and not at each look."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from db.embedded.locks import wait_until
from db.local.store import LocalStore
from mcp_server.jobs.worker import Worker
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.patience import PATIENCE


class Counting(App):
    """Counts how often the local store is asked for."""

    asked = 0

    def local(self) -> LocalStore:
        self.asked += 1
        return super().local()


def test_a_queue_that_cannot_be_used_is_told_once_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(App(Settings(home=tmp_path))) as before:
        before.local()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    caplog.set_level(logging.ERROR, "mcp_server.jobs.worker")
    with closing(Counting(Settings(home=tmp_path))) as app:
        worker = Worker(app, poll_seconds=0.001)
        worker.start()
        assert wait_until(lambda: app.asked > 3, PATIENCE)
        (told,) = (record.getMessage() for record in caplog.records)
        assert "jobs.db" in told
        worker.stop()
