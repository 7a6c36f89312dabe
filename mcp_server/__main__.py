"""The command line. Without a command it serves stdio, which is how MCP clients start it."""

import errno
import gc
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from mcp_server import __version__
from mcp_server.cli.lazy import LazyGroup
from mcp_server.cli.session import INTERRUPTED, await_database, settings_of, tell_of_clock, unusable
from mcp_server.process import logs
from mcp_server.process.app import App
from mcp_server.process.settings import TOKEN_CHARACTERS_MIN, Settings

if TYPE_CHECKING:
    from mcp_server.jobs.worker import Worker
    from mcp_server.mail.mailbox_loops import MailboxLoops

cli = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit codes: 0 done, 1 failed, 2 the command or what it was given can't be used, 3 done in part (import).",
)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class Transport(StrEnum):
    STDIO = "stdio"
    SSE = "sse"
    STREAMABLE_HTTP = "streamable-http"


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"sales-automation-mcp {__version__}")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def default(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  its callback does it
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """MCP server for sales outreach: campaigns, contacts, events and metrics on a real PostgreSQL."""
    if context.invoked_subcommand is None:
        serve()


@cli.command()
def serve(
    transport: Annotated[Transport, typer.Option(help="How clients connect.")] = Transport.STDIO,
    host: Annotated[str, typer.Option(help="Address to listen on; any but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    toolsets: Annotated[str | None, typer.Option(help="Comma-separated toolsets to offer.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Offer no tool that writes.")] = False,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Bring an external database to this schema first.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="Directory of the embedded database and the local store.")] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Leave import jobs to other processes.")] = False,
    send: Annotated[bool, typer.Option("--send", help="Send from the mailboxes, too.")] = False,
    include_overdue: Annotated[
        bool, typer.Option("--include-overdue", help="Send also what is due for more than 7 days.")
    ] = False,
) -> None:
    """Serve MCP. Both HTTP transports answer at once: Streamable HTTP at /mcp, SSE at /sse."""
    settings = settings_of(
        toolsets=toolsets,
        read_only=read_only or None,
        migrate=migrate or None,
        home=home,
        worker=False if no_worker else None,
        send=send or None,
    )
    if include_overdue and not settings.send:
        raise unusable("--include-overdue is of what is sent: add --send.")
    logs.configure(settings.log_level)
    if transport is Transport.STDIO:
        _serve_stdio(settings, include_overdue=include_overdue)
    else:
        _serve_http(settings, host, port, include_overdue=include_overdue)


@cli.command()
def demo(
    contacts: Annotated[int, typer.Option(help="How many contacts of the bundled file to use.", min=100)] = 600,
) -> None:
    """Run a campaign with mail and answers on this machine alone, and leave nothing behind. Takes under a minute.

    Its database and its mail servers are its own, and every number is checked. It needs the extra `demo`.
    """
    from mcp_server.demo import is_installed  # noqa: PLC0415  the server needs none of it

    if not is_installed():
        raise unusable("The demo needs mail servers to play with: run `pip install 'sales-automation-mcp[demo]'`.")
    from mcp_server.demo.run import run_demo  # noqa: PLC0415  as above

    try:
        raise typer.Exit(anyio.run(run_demo, contacts))
    except KeyboardInterrupt:
        sys.stderr.write("sales-automation-mcp: stopped. Nothing is left behind.\n")
        raise typer.Exit(INTERRUPTED) from None


def _app(settings: Settings) -> App:
    # By then everything is imported, and stays. To walk through it for garbage, again and again, takes a quarter of the
    # time of a large batch of events.
    app = App(settings, when_up=gc.freeze)
    tell_of_clock(app)
    return app


def _serve_stdio(settings: Settings, *, include_overdue: bool) -> None:
    app = _app(settings)
    try:
        server = _build(app)
        with _background(app, include_overdue=include_overdue):
            anyio.run(server.run_stdio_async)
    finally:
        app.close()
    if app.failure is not None:
        raise typer.Exit(1)


def _serve_http(settings: Settings, host: str, port: int, *, include_overdue: bool) -> None:
    from mcp_server.http.app import LOOPBACK  # noqa: PLC0415  stdio needs none of it
    from mcp_server.http.serve import CannotListen, serve_http  # noqa: PLC0415  see above
    from mcp_server.http.token_cache import has_tokens  # noqa: PLC0415  see above

    try:
        token = settings.bearer_token()
    except OSError as error:
        raise unusable(
            f"SALES_AUTOMATION_TOKEN_FILE can't be read: {error.strerror}. Correct it, or unset it."
        ) from None
    except ValueError:
        raise unusable(
            "SALES_AUTOMATION_TOKEN, or the first line of SALES_AUTOMATION_TOKEN_FILE, holds no token in UTF-8. Put "
            "one there, or unset it."
        ) from None
    if host not in LOOPBACK and token is not None and len(token) < TOKEN_CHARACTERS_MIN:
        raise unusable(
            f"Listening on {host} needs a token of {TOKEN_CHARACTERS_MIN} characters or more, since others can try to "
            "guess it. Set a longer one, or unset it and run `sales-automation-mcp tokens create NAME --scope read`."
        )
    app = _app(settings)
    try:
        server = _build(app)
        await_database(app)
        if host not in LOOPBACK and token is None and not has_tokens(app):
            raise unusable(
                f"Listening on {host} needs a token: run `sales-automation-mcp tokens create NAME --scope read`, set "
                "SALES_AUTOMATION_TOKEN or SALES_AUTOMATION_TOKEN_FILE, or listen on 127.0.0.1."
            )
        with _background(app, include_overdue=include_overdue):
            serve_http(server, app, host=host, port=port, token=token)
    except CannotListen as error:
        raise unusable(str(error)) from None
    finally:
        app.close()


@contextmanager
def _background(app: App, *, include_overdue: bool) -> Generator[None]:
    """What works beside the server, while it runs: the worker of jobs, and the readers and senders of mailboxes, where
    they are on and something may be written. They end side by side."""
    works = [] if app.settings.read_only else [*_mail(app, include_overdue=include_overdue), *_worker(app)]
    for work in works:
        work.start()
    try:
        yield
    finally:
        for work in works:
            work.signal()
        for work in works:
            work.stop()


def _worker(app: App) -> Generator["Worker"]:
    if app.settings.worker:
        from mcp_server.jobs.worker import Worker  # noqa: PLC0415  `--help` needs none of it

        yield Worker(app)


def _mail(app: App, *, include_overdue: bool) -> Generator["MailboxLoops"]:
    if app.settings.send:
        from mcp_server.mail.senders import Senders  # noqa: PLC0415  `--help` needs none of it

        yield Senders(app, include_overdue=include_overdue)
    if app.settings.read_mail:
        from mcp_server.mail.readers import Readers  # noqa: PLC0415  as above

        yield Readers(app, looks_at_domains=not app.settings.send)


def _build(app: App) -> Any:  # noqa: ANN401  MCPServer, which is imported only to serve
    # What is imported and built here stays for good: collecting garbage among it takes a third of the start.
    gc.disable()
    try:
        from mcp_server.calls.server import build_server  # noqa: PLC0415  `--help` needs none of it

        return build_server(app)
    except ValueError as error:
        raise unusable(f"--toolsets or SALES_AUTOMATION_TOOLSETS: {error}") from None
    finally:
        gc.freeze()
        gc.enable()


def main() -> None:
    """Entry of the console script."""
    # Without a handler the signal would end the process before the database is left and the pool closed.
    signal.signal(signal.SIGTERM, _leave)
    try:
        cli()
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        # What stdout holds back would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr.write(f"sales-automation-mcp: the output can't be written: {error.strerror}. Make room for it.\n")
        sys.exit(1)


def _leave(*_: object) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
