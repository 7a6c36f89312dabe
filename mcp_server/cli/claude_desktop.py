"""`claude-desktop`: this server in the configuration of Claude Desktop. All other entries keep their meaning; the file
is written anew, with the white space of json.dumps, and what it was before is copied beside it."""

import copy
import difflib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from platformdirs import user_config_path

from mcp_server.cli.session import EXIT_CODES, complain, failed, unusable

_SERVERS: Final = "mcpServers"
_UV_CACHE: Final = ("archive-v", "environments-v")
# What it takes to run campaigns. The model reads a quarter less than of all tools, in every conversation.
_NEW: Final = {"SALES_AUTOMATION_TOOLSETS": "outreach"}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

cli = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Add this server to Claude Desktop, or take it out.",
    epilog=EXIT_CODES,
)

Name = Annotated[str, typer.Option(help="What the server is called there.")]
Config = Annotated[
    Path | None, typer.Option(help="The file to edit, where it is not in its usual place.", show_default=False)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]


@cli.command("install", epilog=EXIT_CODES)
def install(
    name: Name = "sales-automation",
    config: Config = None,
    dry_run: DryRun = False,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY[=VALUE]",
            help="A variable for the server, written as it is, or with the value that it has here; repeat it for more.",
        ),
    ] = None,
) -> None:
    """Add this server to Claude Desktop, or bring its entry up to date.

    All other entries stay as they are, and the file is copied beside itself first. Of the environment only what --env
    names is written; an entry that is there keeps what it has. A new one offers the toolsets of outreach, unless --env
    SALES_AUTOMATION_TOOLSETS=all says otherwise.
    """
    given = _variables(env or [])
    if not name:
        raise unusable("--name is empty.")

    def change(servers: dict[str, Any]) -> None:
        variables = given if name in servers else _NEW | given
        entry: dict[str, Any] = dict(servers.get(name, {})) if isinstance(servers.get(name, {}), dict) else {}
        entry.update(command(Path(sys.executable)))
        if variables:
            known: Any = entry.get("env")
            entry["env"] = {**(cast("dict[str, Any]", known) if isinstance(known, dict) else {}), **variables}
        servers[name] = entry

    if _edit(_path(config), change, dry_run=dry_run):
        typer.echo(f"{name} is in {_path(config)}. Restart Claude Desktop.")
    elif not dry_run:
        typer.echo(f"{name} is in {_path(config)} already.")


@cli.command("uninstall", epilog=EXIT_CODES)
def uninstall(name: Name = "sales-automation", config: Config = None, dry_run: DryRun = False) -> None:
    """Take this server out of Claude Desktop. Its data stays."""
    if _edit(_path(config), lambda servers: servers.pop(name, None), dry_run=dry_run):
        typer.echo(f"{name} is no longer in {_path(config)}. Restart Claude Desktop.")
    elif not dry_run:
        typer.echo(f"{name} is not in {_path(config)}.")


def _path(config: Path | None) -> Path:
    return config or user_config_path("Claude", appauthor=False, roaming=True) / "claude_desktop_config.json"


def _variables(given: Sequence[str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for pair in given:
        key, found, value = pair.partition("=")
        if not _VARIABLE.fullmatch(key) or not (found or key in os.environ):
            raise unusable(
                "--env: write KEY=VALUE, such as SALES_AUTOMATION_TOOLSETS=campaigns, or a KEY that is set here."
            )
        variables[key] = value if found else os.environ[key]
    return variables


def command(python: Path) -> dict[str, Any]:
    """How the client starts the installation of this interpreter: it has no PATH of a shell to find it by."""
    if any(part.startswith(_UV_CACHE) for part in python.parts):  # where `uvx` runs it, and which it empties at times
        return {"command": shutil.which("uvx") or "uvx", "args": ["sales-automation-mcp"]}
    script = python.with_name("sales-automation-mcp.exe" if sys.platform == "win32" else "sales-automation-mcp")
    if script.is_file():
        return {"command": str(script), "args": []}
    return {"command": str(python), "args": ["-m", "mcp_server"]}


def _edit(path: Path, change: Callable[[dict[str, Any]], object], *, dry_run: bool) -> bool:
    """Whether `change` changed the servers, and so the file. In a dry run the difference is printed instead."""
    try:
        content = path.read_bytes() if path.exists() else None
        before, root = _read(path, content or b"")
        servers: dict[str, Any] = root.setdefault(_SERVERS, {})
        known = copy.deepcopy(servers)
        change(servers)
        after, is_changed = _text(path, root), servers != known
        if dry_run:
            typer.echo(_difference(path, before, after) if is_changed else "Nothing to change.")
        elif is_changed:
            _write(path, content, after)
    except OSError as error:
        raise failed(f"{path} can't be changed: {error.strerror}.") from None
    return is_changed and not dry_run


def _read(path: Path, content: bytes) -> tuple[str, dict[str, Any]]:
    """The file as text, without the mark that some editors put in front, and as an object; an empty file is an empty
    object. Its servers, if it has any, are an object, too."""
    try:
        text = content.decode("utf-8-sig")
        root: Any = json.loads(text if text.strip() else "{}")
    except UnicodeDecodeError:
        raise failed(f"{path} is not UTF-8. Nothing was changed.") from None
    except json.JSONDecodeError as error:
        raise _invalid(path, f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise _invalid(path, "it is nested too deep") from None
    servers: Any = cast("dict[str, Any]", root).get(_SERVERS, {}) if isinstance(root, dict) else None
    if not isinstance(servers, dict):
        what = f"{_SERVERS} in {path}" if isinstance(root, dict) else str(path)
        raise failed(f"{what} is not a JSON object. Nothing was changed: correct it.")
    return text, cast("dict[str, Any]", root)


def _text(path: Path, root: dict[str, Any]) -> str:
    """The file as it will be. What json reads and JSON can't say (NaN, 1e999, half a character) is refused."""
    try:
        text = json.dumps(root, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        text.encode()
    except RecursionError:
        raise _invalid(path, "it is nested too deep") from None
    except ValueError as error:
        raise _invalid(path, str(error)) from None
    return text


def _invalid(path: Path, reason: str) -> typer.Exit:
    return failed(
        f"{path} is not valid JSON ({reason}). Nothing was changed: correct it, or name another with --config."
    )


def _difference(path: Path, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), lineterm="", n=1)
    return "\n".join(lines)


def _write(path: Path, content: bytes | None, after: str) -> None:
    from mcp_server.cli.files import open_new, replacing  # noqa: PLC0415  see install

    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        # The name needs the moment of this very run: no app is there to ask for it.
        backup = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.bak")
        with open_new(backup) as file:
            file.write(content)
        complain(f"what it was before is in {backup}")
    with replacing(path) as file:
        file.write(after.encode())
        if (path.read_bytes() if path.exists() else None) != content:
            raise failed(f"{path} was changed by somebody else just now. Nothing was changed: repeat it.")
