"""Simulated time: a file tells it, everything goes by it, and everybody is told."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mcp.client import Client
from pydantic import SecretStr, ValidationError

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.process.clock import FileClock
from mcp_server.process.settings import Settings
from tests.support.server import NOW, call, new_campaign

pytestmark = pytest.mark.anyio


def test_the_time_follows_the_file_and_outlasts_one_that_is_being_written(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    file.write_text("2026-03-02T10:00:00+01:00\n")
    clock = FileClock(file)
    assert clock() == datetime(2026, 3, 2, 9, tzinfo=UTC)
    for half in ("", "2026-03-", "2027-01-01T00:00:00", "\x00"):
        file.write_text(half)
        assert clock() == datetime(2026, 3, 2, 9, tzinfo=UTC)
    file.unlink()
    assert clock() == datetime(2026, 3, 2, 9, tzinfo=UTC)
    file.write_text("2025-01-01T00:00:00Z")
    assert clock() == datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, "can't be read"),
        (b"\xff", "not UTF-8"),
        (b"", "holds no time"),
        (b"tomorrow", "holds no time"),
        (b"2026-03-02T09:00:00", "has no offset"),
    ],
)
def test_a_file_without_a_time_is_refused_with_what_to_write(tmp_path: Path, written: bytes | None, told: str) -> None:
    if written is not None:
        (tmp_path / "clock").write_bytes(written)
    with pytest.raises(ValidationError, match=f"{told}.*such as 2026-03-02T09:00:00Z"):
        Settings(clock_file=tmp_path / "clock")


async def test_steps_are_due_by_the_simulated_time_and_health_tells_it(
    make_app: Callable[..., App], database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "clock"
    file.write_text(NOW.isoformat())
    app = App(Settings(database_url=SecretStr(database_url), home=tmp_path, clock_file=file))
    try:
        async with Client(build_server(app)) as client:
            await new_campaign(client, people=1, start=True)
            health = await call(client, "get_health")
            assert datetime.fromisoformat(health["simulated_time"]) == NOW
            assert len((await call(client, "claim_due_actions"))["actions"]) == 1
            assert (await call(client, "claim_due_actions"))["actions"] == []
            file.write_text((NOW + timedelta(days=1)).isoformat())
            assert len((await call(client, "claim_due_actions"))["actions"]) == 1  # the lease has run out
    finally:
        app.close()
    async with Client(build_server(make_app())) as client:
        assert "simulated_time" not in await call(client, "get_health")
