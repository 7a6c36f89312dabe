"""`claude-desktop`: adds this server to the configuration of Claude Desktop. The file is rewritten with the white space
of json.dumps; all other entries keep their meaning. A copy of the old file is kept next to it."""

import codecs
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
# The tools to run campaigns. In every conversation the model reads a quarter less than with all tools.
_NEW: Final = {"SALES_AUTOMATION_TOOLSETS": "outreach"}
# PowerShell and some editors write this mark at the start of a file.
_OF_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARKS: Final = (codecs.BOM_UTF8, *_OF_UTF_16)
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
    """Returns the command with which the client starts the installation of this interpreter. The client does not have
    the PATH of a shell."""
    # `uvx` runs it from this cache, and empties the cache at times.
    if any(part.startswith(_UV_CACHE) for part in python.parts):
        return {"command": shutil.which("uvx") or "uvx", "args": ["sales-automation-mcp"]}
    script = python.with_name("sales-automation-mcp.exe" if sys.platform == "win32" else "sales-automation-mcp")
    if script.is_file():
        return {"command": str(script), "args": []}
    return {"command": str(python), "args": ["-m", "mcp_server"]}


def _edit(path: Path, change: Callable[[dict[str, Any]], object], *, dry_run: bool) -> bool:
    """Applies `change` to the servers and writes the file. Returns whether anything changed. In a dry run it prints the
    difference instead."""
    try:
        content = path.read_bytes() if path.exists() else None
        before, root = _read(path, content or b"")
        servers: dict[str, Any] = root.setdefault(_SERVERS, {})
        known = copy.deepcopy(servers)
        change(servers)
        after, is_unread = _text(path, root), (content or b"").startswith(_MARKS)
        is_changed = servers != known or is_unread
        if is_unread:
            complain(f"{path} begins with a byte order mark, which Claude Desktop can't read: it is taken out")
        if dry_run:
            typer.echo(_difference(path, before, after) if servers != known else "Nothing to change.")
        elif is_changed:
            _write(path, content, after)
    except OSError as error:
        raise failed(f"{path} can't be changed: {error.strerror}.") from None
    return is_changed and not dry_run


def _read(path: Path, content: bytes) -> tuple[str, dict[str, Any]]:
    """Returns the file as text, without the mark that some editors write at its start, and as an object. An empty file
    is an empty object. Its servers, if it has any, must be an object, too."""
    try:
        text = content.decode("utf-16" if content.startswith(_OF_UTF_16) else "utf-8-sig")
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
    """Returns the new text of the file. Refuses values that Python reads but JSON does not have (NaN, 1e999, half a
    surrogate pair)."""
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
        # The file name needs the current time, and there is no app with a clock here.
        backup = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.bak")
        with open_new(backup) as file:
            file.write(content)
        complain(f"what it was before is in {backup}")
    with replacing(path) as file:
        file.write(after.encode())
        if (path.read_bytes() if path.exists() else None) != content:
            raise failed(f"{path} was changed by somebody else just now. Nothing was changed: repeat it.")
