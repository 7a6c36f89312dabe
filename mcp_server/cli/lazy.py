"""A command group that imports a command when it is called: most starts serve stdio and need no command."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

from typer.core import TyperGroup
from typer.main import get_command

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "migrate": "mcp_server.cli.migrating",
        "dashboard": "mcp_server.cli.dashboard",
        "doctor": "mcp_server.cli.doctor",
        "backup": "mcp_server.cli.backups:backup_cli",
        "restore": "mcp_server.cli.backups:restore_cli",
        "campaigns": "mcp_server.cli.campaigns",
        "drafts": "mcp_server.cli.drafts",
        "import": "mcp_server.cli.imports",
        "export": "mcp_server.cli.exports",
        "tokens": "mcp_server.cli.tokens",
        "mailboxes": "mcp_server.cli.mailboxes",
        "jobs": "mcp_server.cli.jobs",
        "mail": "mcp_server.cli.mail",
        "claude-desktop": "mcp_server.cli.claude_desktop",
    }
)
"""Command -> the module whose `cli` it is, or the name of another one in the module."""


class LazyGroup(TyperGroup):
    """A group that lists the registered commands and then COMMANDS."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  its class is private to typer
        return [*super().list_commands(ctx), *COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  see above
        place = COMMANDS.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = place.partition(":")
        command = get_command(getattr(import_module(module), name or "cli"))
        command.name = cmd_name
        return command
