"""This project's own app, served with every toolset and the fixtures of the conformance suite: a program for tests."""

from collections.abc import Iterable
from typing import Annotated, Any

import anyio
import mcp_types
import typer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import InputRequiredResult
from pydantic import AnyUrl
from starlette.applications import Starlette

from mcp_server.calls.server import SalesServer
from mcp_server.http.serve import serve_http
from mcp_server.process import logs
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.judges import fixtures, questions

SCHEMA_TOOL: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


class Everything(SalesServer):
    """The server of this project; what starts with test belongs to the suite, and all else to the project."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self._toolsets = [*self._toolsets, fixtures.toolset]

    def streamable_http_app(self, **options: Any) -> Starlette:
        # Ours answers with JSON, since no tool of it talks while it works. Those of the suite do.
        options["json_response"] = False
        return super().streamable_http_app(**options)

    async def list_prompts(self) -> list[mcp_types.Prompt]:
        return [*await super().list_prompts(), *await MCPServer[App].list_prompts(self)]

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[App, Any] | None = None
    ) -> Any:
        if name.startswith("test_"):
            return await MCPServer[App].get_prompt(self, name, arguments, context)
        return await super().get_prompt(name, arguments, context)

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[App, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        if str(uri).startswith("test://") and "nonexistent" not in str(uri):
            return await MCPServer[App].read_resource(self, uri, context)
        return await super().read_resource(uri, context)

    async def _complete(
        self,
        reference: mcp_types.PromptReference | mcp_types.ResourceTemplateReference,
        argument: mcp_types.CompletionArgument,
        _: mcp_types.CompletionContext | None,
    ) -> mcp_types.Completion:
        if isinstance(reference, mcp_types.PromptReference) and reference.name.startswith("test_"):
            return mcp_types.Completion(values=["paris", "park"], total=2, has_more=False)
        return await super()._complete(reference, argument, _)

    def add_fixtures(self) -> None:
        for add in (
            fixtures.add_contents,
            fixtures.add_talkers,
            fixtures.add_notices,
            fixtures.add_forms,
            fixtures.add_guides,
            questions.add_questions,
            questions.add_client_questions,
            questions.add_states,
        ):
            add(self)

        def json_schema_2020_12_tool() -> str:
            return "done"

        self.tool()(json_schema_2020_12_tool)
        tool = self._tool_manager.get_tool("json_schema_2020_12_tool")
        assert tool is not None
        tool.parameters = SCHEMA_TOOL
        self._add_requests()

    def _add_requests(self) -> None:
        async def accept(_: object, __: object) -> mcp_types.EmptyResult:
            return mcp_types.EmptyResult()

        low = self._lowlevel_server
        low.add_request_handler("logging/setLevel", mcp_types.SetLevelRequestParams, accept)
        low.add_request_handler("resources/subscribe", mcp_types.SubscribeRequestParams, accept)
        low.add_request_handler("resources/unsubscribe", mcp_types.UnsubscribeRequestParams, accept)


def serve(port: Annotated[int, typer.Option()] = 0) -> None:
    settings = Settings(worker=False)
    logs.configure(settings.log_level)
    app = App(settings)
    try:
        server = Everything(app)
        anyio.run(server.list_tools)  # which loads our own, beside which the fixtures go
        server.add_fixtures()
        app.start()
        serve_http(server, app, host="127.0.0.1", port=port, token=None)
    finally:
        app.close()


if __name__ == "__main__":
    typer.run(serve)
