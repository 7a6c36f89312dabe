"""Each tool as a model reads it, kept in tests/golden/tools, so that a review sees what changes in it.

`python -m tests.support.tool_schemas` writes the files again.
"""

import asyncio
import json
import tempfile
from pathlib import Path

from pydantic import SecretStr

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.process.settings import Settings

FOLDER = Path(__file__).parent.parent / "golden" / "tools"
COMMAND = "python -m tests.support.tool_schemas"


async def listed() -> dict[str, str]:
    """File name -> its text: every tool of every toolset as tools/list gives it. No database is asked."""
    with tempfile.TemporaryDirectory() as home:
        app = App(Settings(database_url=SecretStr("postgresql://nobody@127.0.0.1:9/nothing"), home=Path(home)))
        try:
            tools = await build_server(app).list_tools()
        finally:
            app.close()
    shown = {f"{tool.name}.json": tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools}
    return {name: json.dumps(tool, indent=1, ensure_ascii=False) + "\n" for name, tool in shown.items()}


def kept() -> dict[str, str]:
    """File name -> its text, as the files are now."""
    return {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.json"))}


def main() -> None:
    """Write what has changed, and delete the files of tools that are gone."""
    before, now = kept(), asyncio.run(listed())
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in before.keys() - now.keys():
        (FOLDER / name).unlink()
    for name, text in now.items():
        (FOLDER / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
