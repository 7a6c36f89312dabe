"""Why a store can't be used: all of it for who runs the server, and no paths and no log for those who call."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference
from pydantic import SecretStr

from db.domain.errors import StoreUnavailable
from mcp_server.calls.server import build_server
from mcp_server.http.refusals import unavailable
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.server import refusal

pytestmark = pytest.mark.anyio


def not_a_cluster(home: Path) -> None:
    (home / "postgres").mkdir()
    (home / "postgres" / "notes.txt").touch()


def a_lost_cluster(home: Path) -> None:
    (home / "postgres").mkdir(mode=0o700)
    (home / "postgres" / "PG_VERSION").write_text("18\n")


@pytest.mark.parametrize(
    ("spoil", "kept", "told"),
    [
        (not_a_cluster, "/postgres is not the data of a PostgreSQL", "postgres is not the data of a PostgreSQL"),
        (a_lost_cluster, "/postgres.log:\n", "does not start. The server's log says more."),
    ],
)
async def test_a_database_that_does_not_start_tells_clients_no_path_and_no_log(
    tmp_path: Path, spoil: Callable[[Path], None], kept: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    spoil(home)
    app = App(Settings(home=home, worker=False))
    try:
        async with Client(build_server(app)) as client:
            said = await refusal(client, "list_campaigns")
            campaign = ResourceTemplateReference(type="ref/resource", uri="campaign://{id}")
            with pytest.raises(MCPError) as completing:
                await client.complete(campaign, {"name": "id", "value": ""})
    finally:
        app.close()
    assert told in said
    assert "/" not in said + str(completing.value)
    assert "\n" not in said
    assert f"{home}{kept}" in capsys.readouterr().err


async def test_a_local_store_that_does_not_open_tells_clients_no_path(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "jobs.db").write_bytes(b"no database" * 1_000)
    app = App(Settings(home=tmp_path, database_url=SecretStr(database_url), worker=False))
    try:
        async with Client(build_server(app)) as client:
            said = await refusal(client, "list_jobs")
    finally:
        app.close()
    assert "jobs.db is not a SQLite file" in said
    assert "/" not in said


def test_a_refusal_over_http_and_one_that_is_raised_anew_say_as_much() -> None:
    error = StoreUnavailable(
        "/srv/home is full.", places=[Path("/srv/home")], log=" The end of /srv/log:\nFATAL: x"
    ).again()
    assert str(error) == "/srv/home is full. The end of /srv/log:\nFATAL: x"
    body = bytes(unavailable(error).body).decode()
    assert "home is full. The server's log says more." in body
    assert "/" not in body
