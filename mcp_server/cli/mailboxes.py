"""`mailboxes add | list | check | remove | login | rekey`: accounts that send and read mail, and their credentials."""

import sys
import webbrowser
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from db.domain.errors import Conflict, InvalidInput, MailboxUnusable
from db.domain.mailboxes import PRESETS, Check, CheckStatus, CredentialSource, MailServer, Security, Service
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from mcp_server.cli.output import plain, print_table
from mcp_server.cli.session import EXIT_CODES, FAILED, AsJson, Home, complain, opened, settings_of, unusable
from mcp_server.mail import checks, hosts, oauth
from mcp_server.mail.access import Access, give, servers_of, sources_of
from mcp_server.mail.credentials import Credential, KeyRing, Password

if TYPE_CHECKING:
    from db.models import Mailbox
    from db.services import Session
    from mcp_server.process.app import App
    from mcp_server.process.settings import Settings

cli = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The accounts that send and read mail.",
    epilog=EXIT_CODES,
)

Address = Annotated[str, typer.Argument(help="The mailbox's address.")]
Preset = Annotated[str | None, typer.Option(help=f"A usual host instead of servers: {', '.join(PRESETS)}.")]


@cli.command("add", epilog=EXIT_CODES)
def add(
    address: Address,
    preset: Preset = None,
    smtp_host: Annotated[str | None, typer.Option(help="Where it sends.")] = None,
    smtp_port: Annotated[int | None, typer.Option(help="Its port there. Default: 587.")] = None,
    smtp_security: Annotated[Security | None, typer.Option(help="Default: tls at port 465, else starttls.")] = None,
    smtp_username: Annotated[str | None, typer.Option(help="Default: the address.")] = None,
    imap_host: Annotated[str | None, typer.Option(help="Where it is read.")] = None,
    imap_port: Annotated[int | None, typer.Option(help="Its port there. Default: 993.")] = None,
    imap_security: Annotated[Security | None, typer.Option(help="Default: tls at port 993, else starttls.")] = None,
    imap_username: Annotated[str | None, typer.Option(help="Default: the address.")] = None,
    own_smtp_password: Annotated[
        bool, typer.Option("--own-smtp-password", help="Ask for SMTP's password apart, as of a relay.")
    ] = False,
    home: Home = None,
) -> None:
    """Give a mailbox its password, and connect it if it is not yet. The password is asked for, or read from stdin."""
    known = PRESETS.get(preset or "")
    if preset is not None and known is None:
        raise unusable(f"There is no preset {preset}. Choose one of {', '.join(PRESETS)}, or name the servers.")
    smtp = _server(Service.SMTP, smtp_host, smtp_port, smtp_security, smtp_username) or (known and known.smtp)
    imap = _server(Service.IMAP, imap_host, imap_port, imap_security, imap_username) or (known and known.imap)
    address, change, settings = _normal(address), MailboxChange(smtp=smtp, imap=imap), settings_of(home=home)
    _check_hosts(settings, change)
    with opened(settings) as app:
        servers = _planned(app, address, change)
        given = _ask(address, servers, own_smtp_password=own_smtp_password)
        _give(app, address, change, servers, given)
        typer.echo(f"The credentials of {address} are kept, encrypted.")
        _finish(app, address)


@cli.command("login", epilog=EXIT_CODES)
def login(
    address: Address,
    provider: Annotated[str, typer.Option(help=f"{' or '.join(oauth.PROVIDERS)}.")],
    device: Annotated[bool, typer.Option("--device", help="By a code on another device (Microsoft alone).")] = False,
    home: Home = None,
) -> None:
    """Sign a mailbox in by OAuth, and connect it if it is not yet."""
    address, settings = _normal(address), settings_of(home=home)
    try:
        oauth.check(settings, provider, by_device=device)
    except InvalidInput as error:
        raise unusable(str(error)) from None
    preset = PRESETS.get(provider)
    change = MailboxChange() if preset is None else MailboxChange(smtp=preset.smtp, imap=preset.imap)
    with opened(settings) as app:
        servers = _planned(app, address, change)
        sign_in = oauth.by_device if device else oauth.by_browser
        show = typer.echo if device else _open_browser
        grant = sign_in(settings, provider, address=address, now=app.clock, show=show)
        _give(app, address, change, servers, dict.fromkeys(servers, grant))
        typer.echo(f"{address} is signed in by {provider}.")
        _finish(app, address)


@cli.command("list", epilog=EXIT_CODES)
def list_(as_json: AsJson = False, home: Home = None) -> None:
    """List the mailboxes, where they live, and what is wrong with them."""
    with opened(settings_of(home=home)) as app:
        rows = app.run("mailboxes", lambda session: [_line(row) for row in mailboxes.list_(session)], read_only=True)
    if as_json:
        from pydantic_core import to_json  # noqa: PLC0415  needed for this alone

        typer.echo(to_json({"mailboxes": rows}, indent=2))
    elif not rows:
        typer.echo("No mailboxes. `mailboxes add` connects one.")
    else:
        print_table([name.capitalize() for name in rows[0]], (list(row.values()) for row in rows))


@cli.command("check", epilog=EXIT_CODES)
def check(address: Address, as_json: AsJson = False, home: Home = None) -> None:
    """Sign in at the servers of a mailbox, look for its folders, and ask the DNS about its domain. Sends nothing."""
    with opened(settings_of(home=home)) as app:
        found = checks.run(_access(app, _normal(address)))
    if as_json:
        from pydantic_core import to_json  # noqa: PLC0415  needed for this alone

        typer.echo(to_json({"checks": found}, indent=2))
    else:
        _print_checks(found)
    if any(result.status == CheckStatus.FAILED for result in found):
        raise typer.Exit(FAILED)


@cli.command("remove", epilog=EXIT_CODES)
def remove(
    address: Address,
    move_to: Annotated[
        str | None, typer.Option("--move-to", metavar="ADDRESS", help="The mailbox that writes to its people instead.")
    ] = None,
    home: Home = None,
) -> None:
    """Remove a mailbox and its credentials.

    If it writes to people, give --move-to: the other mailbox goes on with them, in new threads.
    """
    other = None if move_to is None else _normal(move_to)
    with opened(settings_of(home=home)) as app:
        gone, moved = app.run(
            "remove mailbox", lambda session: mailboxes.remove(session, mailbox=_normal(address), move_to=other)
        )
    typer.echo(f"{gone} is removed, with its credentials.")
    if other is not None:
        typer.echo(f"{other} writes to its people now: {moved:,}.")


@cli.command("rekey", epilog=EXIT_CODES)
def rekey(home: Home = None) -> None:
    """Make a new key and encrypt all credentials with it. The former key stays in the file until the next rekey, for
    backups of the database; it opens nothing else.

    Where several servers share the database, give the new file to the others before they read again.
    """
    with opened(settings_of(home=home)) as app:
        former = KeyRing.open(app.settings, is_made=False)
        keys = former.with_new_key()
        try:
            count = app.run("rekey", lambda session: _rotate(session, keys))
        except MailboxUnusable:
            # Nothing was encrypted with the new key. After other errors that is not known, and both keys stay.
            former.restore()
            raise
        keys.without_oldest()
    typer.echo(f"The credentials of {count} mailboxes are encrypted with a new key.")


def _rotate(session: "Session", keys: KeyRing) -> int:
    rows = mailboxes.list_(session, is_locked=True)
    for row in rows:
        stored = ((service, kept) for service in Service if (kept := mailboxes.credential_of(row, service)))
        mailboxes.store_credentials(session, row=row, given={service: keys.rotated(kept) for service, kept in stored})
    return len(rows)


def _server(
    service: Service, host: str | None, port: int | None, security: Security | None, username: str | None
) -> MailServer | None:
    """Returns the server that the options give; None if they give none. Ends the command if one of them is wrong."""
    from pydantic import ValidationError  # noqa: PLC0415  needed for this alone

    from mcp_server.schemas.faults import explain  # noqa: PLC0415  as above
    from mcp_server.schemas.mailboxes import ImapIn, SmtpIn  # noqa: PLC0415  as above

    options = {"host": host, "port": port, "security": security, "username": username}
    given = {name: value for name, value in options.items() if value is not None}
    if given and host is None:
        raise unusable(f"--{service}-{next(iter(given))} goes with --{service}-host: name the host as well.")
    shape = SmtpIn if service is Service.SMTP else ImapIn
    try:
        return shape.model_validate(given).to_server() if given else None
    except ValidationError as error:
        raise unusable("; ".join(f"--{service}-{line}" for line in explain(error))) from None


def _check_hosts(settings: "Settings", change: MailboxChange) -> None:
    for server in (change.smtp, change.imap):
        try:
            if server is not None:
                hosts.check(server, allow_private=settings.allow_private_hosts)
        except InvalidInput as error:
            raise unusable(str(error)) from None


def _normal(address: str) -> str:
    """Returns the address in its normal form. Ends the command if it is not an address."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  needed for this alone

    from mcp_server.schemas.contacts import Email  # noqa: PLC0415  as above

    try:
        return TypeAdapter(Email).validate_python(address)
    except ValidationError:
        raise unusable(f"{address} is not an email address.") from None


def _planned(app: "App", address: str, change: MailboxChange) -> dict[Service, MailServer]:
    """Returns the servers that the mailbox has after the change. Ends the command if it has none to send."""

    def known(session: "Session") -> dict[Service, MailServer]:
        row = next((row for row in mailboxes.list_(session) if row.address == address), None)
        return {} if row is None else servers_of(row)

    given = {Service.SMTP: change.smtp, Service.IMAP: change.imap}
    planned = app.run("read mailbox", known, read_only=True)
    planned |= {service: server for service, server in given.items() if server is not None}
    if Service.SMTP not in planned:
        raise unusable(
            f"{address} is not connected yet: name its servers with --preset, or --smtp-host and --imap-host."
        )
    return planned


def _ask(address: str, servers: Mapping[Service, MailServer], *, own_smtp_password: bool) -> dict[Service, Credential]:
    """Returns the passwords: asks for them on a terminal, or else reads the lines of stdin."""
    is_apart = own_smtp_password and Service.IMAP in servers
    # Whoever types a password should see who gets it.
    first = servers.values() if not is_apart else [servers[Service.IMAP]]
    password = _secret(f"Password of {address} for {' and '.join(dict.fromkeys(server.host for server in first))}")
    given: dict[Service, Credential] = dict.fromkeys(servers, password)
    if is_apart:
        given[Service.SMTP] = _secret(f"Password of {address} for {servers[Service.SMTP].host}")
    return given


def _secret(prompt: str) -> Password:
    if sys.stdin.isatty():
        text = str(typer.prompt(prompt, hide_input=True, err=True))
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise unusable("No password was given. Type it when asked, or write it to stdin.")
    return Password(text)


def _give(
    app: "App",
    address: str,
    change: MailboxChange,
    servers: Mapping[Service, MailServer],
    given: Mapping[Service, Credential],
) -> None:
    try:
        give(app, address=address, change=change, servers=servers, given=given)
    except (Conflict, InvalidInput) as error:
        raise unusable(str(error)) from None


def _access(app: "App", address: str) -> Access:
    return app.run(
        "read mailbox", lambda session: Access.of(app, mailboxes.find(session, mailbox=address)), read_only=True
    )


def _finish(app: "App", address: str) -> None:
    """Checks the mailbox. The stored credentials stay even if the check fails, since a server can be down for a
    moment."""
    found = checks.sign_in(_access(app, address))
    _print_checks(found)
    if any(result.status == CheckStatus.FAILED for result in found):
        complain(f"{address} can't be used yet. Mend what failed, then run mailboxes check {address}.")
        raise typer.Exit(FAILED)


def _print_checks(found: "list[Check]") -> None:
    for result in found:
        typer.echo(f"{result.status:8}{plain(result.name)}: {plain(result.detail)}")
        if result.advice:
            typer.echo(f"{'':8}  -> {plain(result.advice)}")


def _line(row: "Mailbox") -> dict[str, str]:
    sources = sources_of(row)
    missing = any(sources[service] is CredentialSource.MISSING for service in servers_of(row))
    return {
        "address": row.address,
        "status": row.status,
        "smtp": f"{row.smtp_host}:{row.smtp_port}",
        "imap": f"{row.imap_host}:{row.imap_port}" if row.imap_host else "-",
        "credentials": "missing" if missing else "given",
        "problem": row.problem or "-",
    }


def _open_browser(url: str) -> None:
    typer.echo(f"Open this address, and agree there:\n{url}")
    with suppress(webbrowser.Error):
        webbrowser.open(url)
