"""The two databases of `bench.large`, each with a server of its own in this process, and the calls to them."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, NamedTuple

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import SecretStr
from starlette.testclient import TestClient

from bench.large_fill import Filled
from bench.large_rows import Person
from bench.postgres import NOW
from db.domain.access import Caller, Scope
from db.domain.errors import StoreUnavailable
from mcp_server.calls import caller
from mcp_server.calls.caller import Invocation
from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.http.app import build_http_app
from mcp_server.process.app import App
from mcp_server.process.settings import Settings

_ANYBODY: Final = Caller("bench", frozenset(Scope))
_TOKEN: Final = "a token of the benchmark"
_STOPPED_SECONDS: Final = 9.0
"""A call that fails after as long was stopped by the timeout of statements."""


class Stopped(Exception):
    """A statement took longer than the server lets any."""


class Side:
    """One of the databases, and what its calls have used up."""

    def __init__(self, filled: Filled, home: Path, portal: BlockingPortal) -> None:
        self.filled = filled
        self.home = home
        self.app = App(_settings(filled, home), clock=lambda: NOW)
        self.dice = random.Random(filled.people)
        self.number = 0
        self.used: set[int] = set()
        """The people of whom a call has ended what there is."""
        self.kept: dict[str, Any] = {}
        """What one call leaves for the next."""
        self._portal = portal
        self.client: TestClient | None = None
        """Of its HTTP server, once that is up."""
        self._tools: dict[str, Tool] = {}

    def offer(self) -> None:
        """Imports the tools, and opens the database."""
        self.app.database()
        self._tools = {tool.name: tool for one in TOOLSETS for tool in one.offer(self.app, read_only=False)}

    def tool(self, name: str, /, **arguments: object) -> dict[str, Any]:
        """Returns the answer of a tool, as a program reads it."""
        start = time.perf_counter()
        with caller.invoked(Invocation(_ANYBODY, arguments, token_hex(8))):
            try:
                found: object = self._portal.call(self._tools[name].run, arguments, Context())
            except ToolError as error:
                # The SDK wraps the refusal of the tool's handler, which wraps that of the service.
                cause = error.__cause__.__cause__ if error.__cause__ else None
                if isinstance(cause, StoreUnavailable) and time.perf_counter() - start > _STOPPED_SECONDS:
                    raise Stopped(name) from error
                raise
        return getattr(found, "structured_content", None) or {}

    def page(self, path: str, /, **query: str) -> None:
        """Gets a page of the HTTP server, such as one of the dashboard's."""
        assert self.client is not None
        start = time.perf_counter()
        found = self.client.get(path, params=query, headers={"Authorization": f"Bearer {_TOKEN}"})
        if found.status_code >= 500 and time.perf_counter() - start > _STOPPED_SECONDS:
            raise Stopped(path)
        assert found.status_code == 200, found.text

    def command(self, *arguments: str) -> None:
        """Runs a command of the command line, as a process of its own."""
        url = self.app.settings.database_url
        assert url is not None
        own = {"DATABASE_URL": url.get_secret_value(), "SALES_AUTOMATION_HOME": str(self.home)}
        subprocess.run(
            [sys.executable, "-m", "mcp_server", *arguments],
            env={**os.environ, **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    def next(self) -> int:
        """Returns a number that was not used here before."""
        self.number += 1
        return self.number

    def person(self, *, low: float = 0.0, high: float = 1.0, fits: Callable[[Person], bool] = lambda _: True) -> Person:
        """Returns a person at random, of those who stand between two shares of all, in order of enrolment."""
        people = self.filled.people
        while True:
            number = self.dice.randrange(int(low * people), int(high * people))
            found = Person(number, people, self.filled.senders)
            if fits(found):
                return found

    def campaign(self) -> str:
        """Returns one of the campaigns at random."""
        return self.dice.choice(self.filled.senders).campaign_id

    def agents_campaign(self) -> str:
        """Returns one of those whose steps agents send."""
        return self.dice.choice(self.filled.agents)


def _settings(filled: Filled, home: Path) -> Settings:
    return Settings(
        database_url=SecretStr(filled.url),
        home=home,
        worker=False,
        read_mail=False,
        mailbox_key_file=home / "mailbox.key",
        log_level="ERROR",
    )


@contextmanager
def sides(small: Filled, large: Filled, scratch: Path) -> Generator[Mapping[str, Side]]:
    """The two, ready for calls."""
    with ExitStack() as stack:
        made: dict[str, Side] = {}
        for name, filled in (("small", small), ("large", large)):
            home = scratch / name
            home.mkdir()
            portal = stack.enter_context(start_blocking_portal())
            side = Side(filled, home, portal)
            stack.callback(side.app.close)
            side.offer()
            http = build_http_app(build_server(side.app), side.app, host="127.0.0.1", token=_TOKEN)
            side.client = stack.enter_context(TestClient(http, base_url="http://127.0.0.1:8000"))
            made[name] = side
        yield made


class Measured(NamedTuple):
    """Milliseconds of each call of one kind, small and large; None stands for one that was stopped."""

    small: list[float | None]
    large: list[float | None]


Prepared = Callable[[], object]
Call = Callable[[Side], Prepared]
"""Prepares a call, and returns what is timed."""


def measure(of: Mapping[str, Side], call: Call, *, calls: int, seconds: float, is_warm: bool = False) -> Measured:
    """Calls both in turns, each so many times; no longer than these seconds, but twice. The first call imports what it
    needs, and does not count unless it `is_warm`."""
    figures: dict[str, list[float | None]] = {"small": [], "large": []}
    begun = time.perf_counter()
    for turn in range(calls if is_warm else calls + 1):
        names = ("small", "large") if turn % 2 else ("large", "small")
        for name in names:
            prepared = call(of[name])
            start = time.perf_counter()
            try:
                prepared()
                figure: float | None = (time.perf_counter() - start) * 1_000
            except Stopped:
                figure = None
            if turn or is_warm:
                figures[name].append(figure)
        if turn >= 2 and time.perf_counter() - begun > seconds:
            break
    return Measured(figures["small"], figures["large"])
