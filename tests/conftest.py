"""A real PostgreSQL for every test: the embedded one, started once, with the schema of the migrations."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from pydantic import SecretStr
from sqlalchemy import text

from db.embedded import EmbeddedPostgres
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from migrations.runner import migrate
from tests.support.databases import empty
from tests.support.server import NOW
from tests.support.statement_rules import Executed

# A run tells of the change alone: each tries the same examples, and how long they take on this machine is not a fault.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile(
    "long",
    max_examples=2_000,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
# For whoever asks only whether a test fails, and not by what it fails at its shortest.
settings.register_profile(
    "unshrunk", settings.get_profile("repeatable"), phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# With `nohup pytest` and `pytest &`, SIGINT is ignored. Children would inherit that, and some tests interrupt theirs; a
# handler is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda _signal, _frame: None)

# Else each process that a test starts compiles the product again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# Nothing may depend on the schema `public`, or name the one in which it finds its tables.
SCHEMA: Final = "elsewhere"


_LONG: Final = frozenset({"test_quality.py", "test_plans.py", "test_storm.py", "test_soak.py", "test_packaging.py"})


@pytest.hookimpl(optionalhook=True)  # `.ci/other-pythons` installs no xdist
def pytest_xdist_auto_num_workers() -> int:
    """Returns one more than there are processors, at most 4: tests wait for servers and for processes that start."""
    return min(4, (os.cpu_count() or 1) + 1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Servers that are given no home keep theirs here: that of whoever runs the tests may be full of real work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the files that take longest, so that all workers end at about the same time."""
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.fixture(scope="session")
def executed() -> Executed:
    """The statements that a distributed PostgreSQL must take."""
    return Executed()


@pytest.fixture(scope="session")
def postgres(executed: Executed) -> Generator[str]:
    """The URL of a running, empty PostgreSQL. Its databases have no schema `public`, and the URL names another."""
    with tempfile.TemporaryDirectory(prefix="sales-test-") as home:
        server = EmbeddedPostgres(Path(home))
        url = server.start()
        for database in ("sales", "template1"):
            with psycopg.connect(url, dbname=database, autocommit=True) as connection:
                connection.execute("DROP SCHEMA public")
                connection.execute(f"CREATE SCHEMA {SCHEMA}")
        yield f"{url}&options={quote(f'-csearch_path={SCHEMA}')}"
        server.stop()


@pytest.fixture(scope="session")
def migrated(postgres: str, executed: Executed) -> Generator[Database]:
    database = Database.open(DatabaseConfig(url=postgres))
    migrate(database.engine)
    yield database
    database.close()
    executed.check(postgres)


@pytest.fixture
def database(migrated: Database, postgres: str, executed: Executed) -> Generator[Database]:
    """The migrated database, with no row in any table. What is executed meanwhile must keep the rules of statements."""
    empty(migrated)
    yield migrated
    executed.check(postgres)


@pytest.fixture
def database_url(database: Database, postgres: str) -> str:
    """The URL of `database`, for other processes."""
    return postgres


@pytest.fixture
def make_app(database_url: str, tmp_path: Path) -> Generator[Callable[..., App]]:
    """Makes servers on the test database, with the settings it is given; they are closed in the end."""
    apps: list[App] = []

    def make(**settings: Any) -> App:
        given: dict[str, Any] = {"database_url": SecretStr(database_url), "home": tmp_path, **settings}
        apps.append(App(Settings(**given), clock=lambda: NOW))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def fresh_database(postgres: str, request: pytest.FixtureRequest) -> Generator[str]:
    """The URL of a database of its own, empty and not migrated."""
    name = f"fresh_{abs(hash(request.node.nodeid)):x}"
    admin = Database(DatabaseConfig(url=postgres))
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres.replace("/sales?", f"/{quote(name)}?")
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    admin.close()
