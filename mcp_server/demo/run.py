"""The demo: a real client drives the real server over stdio, which sends and reads mail, all of it on this machine."""

import sys
import tempfile

from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError
from rich.console import Console

from mcp_server.demo import setting
from mcp_server.demo.calls import Calls, DemoFailed
from mcp_server.demo.mail_host import MailHost
from mcp_server.demo.people import rows
from mcp_server.demo.story import Story


async def run_demo(contacts: int) -> int:
    """Runs the demo with the first `contacts` rows of the bundled file. Returns the exit code."""
    console = Console()
    failure: DemoFailed | None = None
    passwords = setting.new_passwords()
    host = MailHost(passwords)
    # What the server logs would fall into the middle of what is shown here.
    with setting.home() as home, tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        clock = setting.DemoClock(home)
        server = setting.server(home, clock, passwords)
        try:
            async with host.listening(), Client(stdio_client(server, errlog=log)) as client:
                try:
                    await Story(Calls(client), host, clock, console).play(rows()[:contacts])
                except DemoFailed as error:
                    # Kept for after the client has closed, which would wrap it.
                    failure = error
        except (MCPError, BaseExceptionGroup) as error:
            ended = error if isinstance(error, MCPError) else error.subgroup(MCPError)
            if ended is None:
                raise
            failure = DemoFailed("the server ended before its time. What it said:")
        if failure is not None:
            console.print(f"FAILED: {failure}", style="bold red", highlight=False, markup=False)
            log.seek(0)
            sys.stderr.writelines(log)
            return 1
    console.print("Every number is what the mails and the stream of events imply.", style="green")
    console.print("To use the server in Claude Desktop: sales-automation-mcp claude-desktop install", highlight=False)
    return 0
