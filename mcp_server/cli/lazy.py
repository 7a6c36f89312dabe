"""A group whose commands are imported when they are asked for: most starts serve stdio, and need none of them."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

from typer.core import TyperGroup
from typer.main import get_command

COMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "dashboard": "mcp_server.cli.dashboard",
        "doctor": "mcp_server.cli.doctor",
        "import": "mcp_server.cli.imports",
        "export": "mcp_server.cli.exports",
        "tokens": "mcp_server.cli.tokens",
        "jobs": "mcp_server.cli.jobs",
        "claude-desktop": "mcp_server.cli.claude_desktop",
    }
)
"""Command -> the module whose `cli` it is."""


class LazyGroup(TyperGroup):
    """COMMANDS after those that are registered."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  its class is private to typer
        return [*super().list_commands(ctx), *COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401  see above
        module = COMMANDS.get(cmd_name)
        if module is None:
            return super().get_command(ctx, cmd_name)
        command = get_command(import_module(module).cli)
        command.name = cmd_name
        return command
