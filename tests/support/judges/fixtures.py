"""What the conformance suite asks a server to offer. No name or text here is ours: the suite calls for each of them.

`toolset` goes the way of every tool of this project. What a Toolset does not do, such as pictures, questions to the
user or progress, goes through the SDK, into the same server.
"""

# pyright: reportDeprecated=false
# The 2025-11-25 scenarios ask for logging, sampling and roots, which the next revision has deprecated.

from collections.abc import Sequence
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import Field

from db.domain.errors import Refused
from mcp_server.calls.call import Call, Mode, Tool
from mcp_server.calls.toolset import Toolset
from mcp_server.process.app import App
from mcp_server.schemas.base import Answer

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="


class FixtureToolset(Toolset):
    """A Toolset whose tools stand beside it."""

    @property
    def tools(self) -> Sequence[Tool]:
        return self._tools


toolset = FixtureToolset("fixtures", "what the conformance suite asks for", mode=Mode.LOCAL)


class Said(Answer):
    text: str


@toolset.read("Text", mode=Mode.APART)
def test_simple_text(call: Call) -> Said:
    """Answer with a text."""
    return Said(text="This is a simple text response for testing.")


@toolset.read("Error", mode=Mode.APART)
def test_error_handling(call: Call) -> Said:
    """Be refused."""
    raise Refused("This tool intentionally returns an error for testing")


@toolset.read("Header", mode=Mode.APART)
def test_custom_header(call: Call, region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> Said:
    """Answer with an argument that a header repeats."""
    return Said(text=region)


def image() -> ImageContent:
    return ImageContent(type="image", data=PIXEL, mime_type="image/png")


def resource(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def answer(*blocks: ContentBlock | str) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=block) if isinstance(block, str) else block for block in blocks]
    )


def add_contents(server: MCPServer[App]) -> None:
    """Tools that answer with more than text."""

    @server.tool()
    def test_image_content() -> CallToolResult:
        return answer(image())

    @server.tool()
    def test_audio_content() -> CallToolResult:
        return answer(AudioContent(type="audio", data=SILENCE, mime_type="audio/wav"))

    @server.tool()
    def test_embedded_resource() -> CallToolResult:
        return answer(resource("test://embedded-resource", "This is an embedded resource content."))

    @server.tool()
    def test_multiple_content_types() -> CallToolResult:
        described = resource("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
        return answer("Multiple content types test:", image(), described)


def add_talkers(server: MCPServer[App]) -> None:
    """Tools that talk to the client while they work, as the handshake revisions let them."""

    @server.tool()
    async def test_tool_with_logging(ctx: Context[App, Any]) -> CallToolResult:
        for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(text)
        return answer("done")

    @server.tool()
    async def test_logging_tool(ctx: Context[App, Any]) -> CallToolResult:
        await ctx.info("nobody asked for this")
        return answer("done")

    @server.tool()
    async def test_tool_with_progress(ctx: Context[App, Any]) -> CallToolResult:
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
        return answer("done")

    @server.tool()
    async def test_sampling(prompt: str, ctx: Context[App, Any]) -> CallToolResult:
        message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
        result = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
        return answer(f"LLM response: {result.content}")


def add_notices(server: MCPServer[App]) -> None:
    """Tools that refuse a client which can't answer, or that change what is offered."""

    @server.tool()
    async def test_missing_capability(ctx: Context[App, Any]) -> CallToolResult:
        declared = ctx.client_capabilities
        if declared is None or declared.sampling is None:
            needed: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool needs sampling", needed)
        return answer("done")

    @server.tool()
    async def test_trigger_tool_change(ctx: Context[App, Any]) -> CallToolResult:
        await ctx.notify_tools_changed()
        return answer("done")

    @server.tool()
    async def test_trigger_prompt_change(ctx: Context[App, Any]) -> CallToolResult:
        await ctx.notify_prompts_changed()
        return answer("done")


def add_forms(server: MCPServer[App]) -> None:
    """Tools that ask the user in the middle of a call."""

    async def ask(ctx: Context[App, Any], message: str, properties: dict[str, Any]) -> CallToolResult:
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        result = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
        return answer(f"Elicitation completed: action={result.action}, content={result.content}")

    @server.tool()
    async def test_elicitation(message: str, ctx: Context[App, Any]) -> CallToolResult:
        text = {"type": "string", "description": "Of the user"}
        return await ask(ctx, message, {"username": text, "email": text})

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Context[App, Any]) -> CallToolResult:
        return await ask(
            ctx,
            "With defaults",
            {
                "name": {"type": "string", "default": "John Doe"},
                "age": {"type": "integer", "default": 30},
                "score": {"type": "number", "default": 95.5},
                "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
                "verified": {"type": "boolean", "default": True},
            },
        )

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Context[App, Any]) -> CallToolResult:
        plain = ["option1", "option2", "option3"]
        titled = [{"const": f"value{number}", "title": f"Option {number}"} for number in (1, 2, 3)]
        legacy = {"enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]}
        return await ask(
            ctx,
            "With choices",
            {
                "untitledSingle": {"type": "string", "enum": plain},
                "titledSingle": {"type": "string", "oneOf": titled},
                "legacyEnum": {"type": "string", **legacy},
                "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
                "titledMulti": {"type": "array", "items": {"anyOf": titled}},
            },
        )


def add_guides(server: MCPServer[App]) -> None:
    """Resources and prompts."""

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        return b"\x89PNG\r\n"

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        return "Watched"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'

    @server.prompt()
    def test_simple_prompt() -> list[UserMessage]:
        return [UserMessage("This is a simple prompt for testing.")]

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
        return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803  the suite's name
        embedded = resource(resourceUri, "Embedded resource content for testing.")
        return [UserMessage(embedded), UserMessage("Please process the embedded resource above.")]

    @server.prompt()
    def test_prompt_with_image() -> list[UserMessage]:
        return [UserMessage(image()), UserMessage("Please analyze the image above.")]
