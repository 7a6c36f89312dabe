"""The reference of the command line, written from the commands themselves."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from typer.main import get_command

from docs.generate.regions import table
from mcp_server.__main__ import cli

NAME = "sales-automation-mcp"


class Command(NamedTuple):
    """One command. Its class, and that of its context, are private to typer."""

    words: tuple[str, ...]
    command: Any
    context: Any

    @property
    def spoken(self) -> str:
        return " ".join(self.words)


def root() -> Any:
    """The program as a whole."""
    return get_command(cli)


def commands() -> Iterator[Command]:
    """Every command that does something."""
    program = root()
    yield from _below(program, (), program.make_context(NAME, ["serve"]))


def _below(group: Any, words: tuple[str, ...], context: Any) -> Iterator[Command]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from _below(command, (*words, name), context)
        else:
            yield Command((*words, name), command, context)


def overview() -> str:
    """A line for each command."""
    rows = (
        (f"[`{command.spoken}`](#{'-'.join(command.words)})", _first_line(command.command.help))
        for command in commands()
    )
    return table(("command", "what it does"), rows)


def reference() -> str:
    """Every command with its arguments and options."""
    return "\n".join(map(_section, commands()))


def options_of(command: Any) -> list[str]:
    """The names of its options, without --help."""
    return [name for param in command.params for name in (*param.opts, *param.secondary_opts) if name != "--help"]


def _section(each: Command) -> str:
    text = "\n\n".join(_unwrapped(each.command.help))
    rows = [_row(parameter, each.context) for parameter in each.command.params]
    listed = "\n" + table(("argument or option", "meaning"), rows) if rows else ""
    return f"### {each.spoken}\n\n{text}\n{listed}"


def _row(parameter: Any, context: Any) -> tuple[str, str]:
    written, meaning = parameter.get_help_record(context) or (parameter.human_readable_name.upper(), parameter.help)
    return f"`{written.removesuffix(' <bool>')}`", meaning or ""


def _first_line(text: str | None) -> str:
    return _unwrapped(text)[0]


def _unwrapped(text: str | None) -> list[str]:
    return [" ".join(part.split()) for part in (text or "").split("\n\n")]
