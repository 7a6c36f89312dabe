"""The checks of `doctor`. Each says what it found, and in one line what to do if something is wrong."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from platform import platform, python_version
from statistics import median
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from db import homes
from db.domain.errors import SalesAutomationError
from db.domain.jobs import JobStatus
from db.services.ops import health
from mcp_server import __version__
from mcp_server.process.app import App
from mcp_server.process.settings import WEBHOOKS_WITH_SECRETS, Settings

_PINGS: Final = 5
_NAMED: Final = 10
_WAITS_LONG: Final = timedelta(minutes=10)
_TOKEN_CHARACTERS: Final = 20
_SECRET_LENGTH: Final = 16
_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})


class Verdict(StrEnum):
    """The result of a check. After a failure doctor exits with 1; after a warning it exits with 0."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `advice` says what to do; None if nothing is wrong."""

    name: str
    verdict: Verdict
    found: str
    advice: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def run_checks(app: App) -> Iterator[Check]:
    """Yields all checks, each as soon as it is done. Starts the embedded database, as a server does."""
    settings = app.settings
    yield Check("program", Verdict.OK, f"sales-automation-mcp {__version__}")
    yield Check("python", Verdict.OK, f"Python {python_version()} on {platform(terse=True)}")
    if settings.clock_file is not None:
        yield check_clock(app)
    home = check_home(settings.home)
    yield home
    yield check_toolsets(settings)
    if settings.database_url is None:
        yield check_binaries()
    if settings.database_url is not None or home.verdict is not Verdict.FAILED:
        yield check_database(app)
    if app.open_database is not None:
        yield check_search(app)
    if settings.database_url is not None:
        yield check_encryption(app)
    if home.verdict is not Verdict.FAILED:
        yield from check_local(app)
    yield check_imports(settings)
    yield check_token(settings, are_kept=_are_kept(app))
    yield check_webhook_secrets(settings)
    if settings.public_base is None and app.open_database is not None:
        yield check_unsubscribe_links(app)
    yield Check("http", Verdict.OK, f"plain HTTP; accepted hosts besides loopback: {_listed(settings.allowed_hosts)}")


def check_clock(app: App) -> Check:
    """Says that the time is simulated."""
    found = f"{app.settings.clock_file} tells the time, {app.clock():%Y-%m-%d %H:%M:%S}Z; mail goes to loopback alone"
    return Check("clock", Verdict.WARNING, found, "Unset SALES_AUTOMATION_CLOCK_FILE where this is not a simulation.")


def check_home(home: Path) -> Check:
    """Checks whether the directory, or the nearest one above it that exists, is writable."""
    advice = "Give this user the directory, or name another with --home or SALES_AUTOMATION_HOME."
    try:
        there = next((path for path in (home, *home.parents) if path.exists()), home)
        if not there.is_dir():
            return Check("home", Verdict.FAILED, f"{there} is not a directory", advice)
        with tempfile.TemporaryFile(dir=there):
            pass
        if there == home:
            homes.check(home)
    except OSError as error:
        return Check("home", Verdict.FAILED, f"{home} can't be written to: {error.strerror}", advice)
    except SalesAutomationError as error:
        found, what_to_do = _split(str(error))
        return Check("home", Verdict.FAILED, found, what_to_do)
    return Check("home", Verdict.OK, f"{home} is writable" if there == home else f"{home} can be made")


def check_toolsets(settings: Settings) -> Check:
    """Checks whether the toolsets of the settings exist."""
    from mcp_server.calls.toolsets import select  # noqa: PLC0415  it brings the protocol's own modules

    try:
        chosen = select(settings.toolsets)
    except ValueError as error:
        found, advice = _split(str(error))
        return Check("toolsets", Verdict.FAILED, found, advice or "Correct SALES_AUTOMATION_TOOLSETS.")
    mode = "read-only" if settings.read_only else "reading and writing"
    return Check("toolsets", Verdict.OK, f"{_listed([toolset.name for toolset in chosen])}; {mode}")


def check_binaries() -> Check:
    """Checks whether there is a PostgreSQL to start."""
    from db.embedded.binaries import locate  # noqa: PLC0415  not needed with a database of one's own

    try:
        binaries = locate(None)
    except SalesAutomationError as error:
        found, _ = _split(str(error))
        return Check("binaries", Verdict.FAILED, found, "Install PostgreSQL 15 or later, or set DATABASE_URL.")
    version = ".".join(map(str, binaries.version))
    return Check("binaries", Verdict.OK, f"PostgreSQL {version} in {binaries.folder}")


def check_database(app: App) -> Check:
    """Checks whether the database answers, has this version's schema, and how fast it is."""
    where = "embedded" if app.settings.database_url is None else "DATABASE_URL"
    try:
        with redirect_stderr(StringIO()):  # the app also writes the message of the check
            app.database()
        server = app.run("doctor", health.server, read_only=True)
        seconds = median(_timed_ping(app) for _ in range(_PINGS))
    except SalesAutomationError as error:
        found, advice = _split(str(error))
        return Check("database", Verdict.FAILED, f"{where}: {found}", advice or "Start it, or correct DATABASE_URL.")
    found = f"{where}: PostgreSQL {server.version}, schema {server.revision}, {seconds * 1000:.1f} ms a transaction"
    return Check("database", Verdict.OK, found)


def _timed_ping(app: App) -> float:
    started = time.perf_counter()
    app.run("doctor", health.ping, read_only=True)
    return time.perf_counter() - started


def check_search(app: App) -> Check:
    """Says how people are found by a part of a name: by an index, or by reading all of them."""
    state = health.SearchState(is_indexed=False, can_be=False)
    with suppress(SalesAutomationError):  # it went away since the last check
        state = app.run("doctor", health.search, read_only=True)
    if state.is_indexed:
        return Check("search", Verdict.OK, "any part of a name is found by an index")
    found = "the start of a name is found by an index, and any other part by reading all people"
    if not state.can_be:
        return Check("search", Verdict.OK, f"{found}: this PostgreSQL has no pg_trgm")
    advice = "Build the index as docs/operations.md says, under Tuning; it pays from some 100,000 people on."
    return Check("search", Verdict.WARNING, found, advice)


def check_encryption(app: App) -> Check:
    """Checks whether the connection to an external database is encrypted, and whether the settings demand it."""
    url = app.settings.database_url
    assert url is not None, "the embedded database is never elsewhere"
    host, mode = _host_and_mode(url.get_secret_value(), app.settings)
    if _is_here(host):
        return Check("database TLS", Verdict.OK, "not needed: the database is on this machine")
    if mode in _ENCRYPTED:
        return Check("database TLS", Verdict.OK, f"sslmode {mode}")
    used = ""
    if app.open_database is not None:
        with suppress(SalesAutomationError):  # it went away since the last check
            used = ", used" if app.run("doctor", health.server, read_only=True).is_encrypted else ", not used"
    advice = "Set SALES_AUTOMATION_DATABASE_SSLMODE=verify-full, or require."
    return Check("database TLS", Verdict.WARNING, f"not demanded{used} (sslmode {mode or 'prefer'})", advice)


def _host_and_mode(url: str, settings: Settings) -> tuple[str, str | None]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "", settings.database_sslmode
    asked = dict(parse_qsl(parts.query))
    return host or asked.get("host", ""), settings.database_sslmode or asked.get("sslmode")


def _is_here(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_local(app: App) -> Iterator[Check]:
    """Checks whether the local store opens, and how many jobs wait."""
    try:
        stats = app.local().jobs.stats(now=app.clock())
    except SalesAutomationError as error:
        found, advice = _split(str(error))
        yield Check("local store", Verdict.FAILED, found, advice or "Name another directory with --home.")
        return
    yield Check("local store", Verdict.OK, f"jobs and cache open, synchronous {app.settings.local_synchronous}")
    counts = ", ".join(f"{stats.by_status.get(status, 0):,} {status}" for status in JobStatus)
    since = stats.oldest_ready_at
    if since is not None and app.clock() - since > _WAITS_LONG:
        found = f"{counts}; {stats.ready:,} wait, the oldest since {since:%Y-%m-%d %H:%M}Z"
        advice = "Run a server without --no-worker for imports, and an agent for all other types."
        yield Check("queue", Verdict.WARNING, found, advice)
    elif stats.by_status.get(JobStatus.FAILED, 0):
        advice = "`jobs list --status failed` shows them, `jobs retry` tries one again."
        yield Check("queue", Verdict.WARNING, counts, advice)
    else:
        yield Check("queue", Verdict.OK, counts)
    is_working = app.settings.worker and not app.settings.read_only
    yield Check("worker", Verdict.OK, "servers started here do imports" if is_working else "off for servers here")


def check_imports(settings: Settings) -> Check:
    """Checks whether the directories that jobs may read exist."""
    folders = settings.import_directories
    missing = [str(folder) for folder in folders if not _is_readable(folder)]
    if missing:
        advice = "Make them readable, or correct SALES_AUTOMATION_IMPORT_DIRECTORIES."
        return Check("import directories", Verdict.FAILED, f"can't be read: {_listed(missing)}", advice)
    return Check("import directories", Verdict.OK, _listed([str(folder) for folder in folders]))


def _is_readable(folder: Path) -> bool:
    try:
        next(folder.iterdir(), None)
    except OSError:
        return False
    return True


def _are_kept(app: App) -> bool:
    """Returns whether the database has tokens; False if it does not answer."""
    from mcp_server.http.token_cache import has_tokens  # noqa: PLC0415  it brings the protocol's own modules

    if app.open_database is None:
        return False
    with suppress(SalesAutomationError):  # it went away since the last check
        return has_tokens(app)
    return False


def check_token(settings: Settings, *, are_kept: bool) -> Check:
    """Checks whether HTTP clients must send a token, and whether the token is safe."""
    advice = "Unset it, and make one: `sales-automation-mcp tokens create NAME --scope read`."
    try:
        token = settings.bearer_token()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "there is none in UTF-8"
        found = f"the token can't be read: {reason}"
        return Check("token", Verdict.FAILED, found, "Correct SALES_AUTOMATION_TOKEN_FILE, or its permissions.")
    if token is None and are_kept:
        return Check("token", Verdict.OK, "kept in the database: `tokens list` shows them; put TLS in front of HTTP")
    if token is None:
        return Check("token", Verdict.OK, "not set: HTTP on loopback alone, open to every user of this machine")
    if len(token) < _TOKEN_CHARACTERS:
        return Check("token", Verdict.WARNING, f"shorter than {_TOKEN_CHARACTERS} characters", advice)
    if settings.token is None and _is_open(settings.token_file):
        found = f"{settings.token_file} can be read by other users"
        return Check("token", Verdict.WARNING, found, f"Run chmod 600 {settings.token_file}")
    return Check("token", Verdict.OK, "set; put TLS in front of any address but loopback")


def check_webhook_secrets(settings: Settings) -> Check:
    """Checks whether the webhook secrets are long enough."""
    lengths = {name: settings.webhook_secret_length(name) for name in WEBHOOKS_WITH_SECRETS}
    weak = [name for name, length in lengths.items() if length is not None and length < _SECRET_LENGTH]
    if weak:
        found = f"shorter than {_SECRET_LENGTH} bytes or characters: {_listed(weak)}"
        return Check("webhook secrets", Verdict.WARNING, found, "Make a longer one at the provider, and set it here.")
    is_set = [name for name, length in lengths.items() if length is not None]
    return Check("webhook secrets", Verdict.OK, f"set: {_listed(is_set)}")


def check_unsubscribe_links(app: App) -> Check:
    """Checks whether a running campaign needs unsubscribe links, which a server without a public address can't make."""
    from db.services.dispatch import lint  # noqa: PLC0415  it brings the language of texts

    names: list[str] = []
    with suppress(SalesAutomationError):  # the database stopped since the last check, or has another schema
        names = app.run("doctor", lint.without_link, read_only=True)
    if not names:
        return Check("unsubscribe links", Verdict.OK, "no public address, and no running campaign needs one")
    found = f"no public address, so {{{{ unsubscribe_url }}}} pauses everybody in {_listed(names[:_NAMED])}"
    return Check("unsubscribe links", Verdict.WARNING, found, f"Set {lint.PUBLIC_URL_SETTING}, or change the texts.")


def _is_open(path: Path | None) -> bool:
    return sys.platform != "win32" and path is not None and bool(path.stat().st_mode & 0o044)


def _split(text: str) -> tuple[str, str | None]:
    """Splits an error's text into what is wrong and what to do. Errors say both, in this order."""
    found, _, advice = " ".join(text.split()).partition(". ")
    return found.rstrip("."), advice or None


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
