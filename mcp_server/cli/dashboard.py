"""`dashboard`: opens the dashboard in a browser, signed in by a link. Serves the dashboard itself, or uses a running
server."""

import threading
import webbrowser
from typing import Annotated
from urllib.parse import urlsplit

import typer

from db.services import secrets
from db.services.ops import tickets
from mcp_server.cli.session import Home, complain, opened, settings_of, unusable
from mcp_server.process.app import App

cli = typer.Typer(add_completion=False, rich_markup_mode="markdown")

_HOST = "127.0.0.1"


@cli.command("dashboard", epilog="Exit codes: 0 done, 1 failed, 2 the command or what it was given can't be used.")
def dashboard(
    port: Annotated[int, typer.Option(help="Port to serve it on; 0 takes a free one.", min=0, max=65535)] = 0,
    url: Annotated[
        str | None, typer.Option(help="Serve nothing: make a link for the server at this address, http://HOST:PORT.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the link, and open no browser.")] = False,
    sign_out_all: Annotated[
        bool, typer.Option("--sign-out-all", help="End all links and sessions of servers, and do nothing else.")
    ] = False,
    home: Home = None,
) -> None:
    """Show campaigns, due steps, events and health in a browser, and decide there what goes out.

    Serves the dashboard to this machine until Ctrl-C, and prints a link that signs one browser in, once, within five
    minutes. A server that runs over HTTP shows the same at /dashboard: --url makes a link for it, with its database.
    """
    base = None if url is None else _base(url)
    with opened(settings_of(home=home)) as app:
        if sign_out_all:
            app.run("dashboard key", tickets.replace_key)
            typer.echo("Every link and session has ended. Servers that run know it within ten seconds.")
        elif base is not None:
            _show(app, base, app.run("dashboard key", tickets.make_key), is_opened=not no_open)
        else:
            _serve(app, port, is_opened=not no_open)


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise unusable("--url: give scheme, host and port alone, such as http://127.0.0.1:8000.")
    if parts.path.rstrip("/") not in ("", "/dashboard"):
        raise unusable("--url: the dashboard is at /dashboard of a server. Leave the path out.")
    return f"{parts.scheme}://{parts.netloc}"


def _serve(app: App, port: int, *, is_opened: bool) -> None:
    from mcp_server.http.app import build_dashboard_app  # noqa: PLC0415  `--help` needs none of it
    from mcp_server.http.serve import CannotListen, run  # noqa: PLC0415  see above

    # The key lives only in this process, so that nothing is written. When the process ends, its sessions end, too.
    key = secrets.new_key()
    try:
        run(
            build_dashboard_app(app, host=_HOST, key=key),
            host=_HOST,
            port=port,
            when_listening=lambda base: _show(app, base, key, is_opened=is_opened, is_serving=True),
        )
    except CannotListen as error:
        raise unusable(str(error)) from None
    except KeyboardInterrupt:
        complain("stopped.")


def _show(app: App, base: str, key: bytes, *, is_opened: bool, is_serving: bool = False) -> None:
    from mcp_server.http.sessions import link  # noqa: PLC0415  see _serve

    address = link(base, key, app.clock())
    typer.echo(address)
    complain("the link signs one browser in, within five minutes." + (" Ctrl-C ends the dashboard." * is_serving))
    if is_opened and is_serving:
        # On a thread: the browser waits for the server, and some browsers block until they have ended.
        threading.Thread(target=_open, args=(address,), daemon=True).start()
    elif is_opened:
        _open(address)


def _open(address: str) -> None:
    if not webbrowser.open(address):
        complain("no browser could be opened here: open the link yourself.")
