"""Fixtures of the 2026-07-28 revision: tools and a prompt that answer with a question first."""

from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)

from mcp_server.process.app import App

Asked = Context[App, Any]


def form(message: str, field: str, kind: str = "string") -> ElicitRequest:
    schema: dict[str, Any] = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(text: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def has_answers(ctx: Asked, *keys: str) -> bool:
    return set(keys) <= set(ctx.input_responses or {})


def field_of(ctx: Asked, key: str, field: str) -> object:
    """What the user filled in; None where the form was not answered."""
    response = (ctx.input_responses or {}).get(key)
    return (response.content or {}).get(field) if isinstance(response, ElicitResult) else None


def add_questions(server: MCPServer[App]) -> None:
    """Tools of one question to the user."""
    name = form("What is your name?", "name")

    @server.tool(name="test_streaming_elicitation")
    @server.tool()
    async def test_input_required_result_elicitation(ctx: Asked) -> str | InputRequiredResult:
        known = field_of(ctx, "user_name", "name")
        return f"Hello, {known}!" if known else InputRequiredResult(input_requests={"user_name": name})

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Asked) -> list[UserMessage] | InputRequiredResult:
        context = field_of(ctx, "user_context", "context")
        if context:
            return [UserMessage(f"Context: {context}")]
        question = form("What context should the prompt use?", "context")
        return InputRequiredResult(input_requests={"user_context": question})


def add_client_questions(server: MCPServer[App]) -> None:
    """Tools of one question to the client's model, or to the client itself."""
    name = form("What is your name?", "name")

    @server.tool()
    async def test_input_required_result_sampling(ctx: Asked) -> str | InputRequiredResult:
        if has_answers(ctx, "capital_question"):
            return "Paris"
        return InputRequiredResult(input_requests={"capital_question": sampling("What is the capital of France?", 100)})

    @server.tool()
    async def test_input_required_result_list_roots(ctx: Asked) -> str | InputRequiredResult:
        if has_answers(ctx, "client_roots"):
            return f"Roots: {(ctx.input_responses or {})['client_roots']}"
        return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})

    @server.tool()
    async def test_input_required_result_capabilities(ctx: Asked) -> str | InputRequiredResult:
        declared = ctx.client_capabilities
        wanted: dict[str, InputRequest] = {}
        if declared and declared.sampling:
            wanted["capital_question"] = sampling("What is the capital of France?", 100)
        if declared and declared.elicitation:
            wanted["user_name"] = name
        return InputRequiredResult(input_requests=wanted) if wanted else "The client can't be asked."


def add_states(server: MCPServer[App]) -> None:
    """Tools that remember between the rounds, in a state that the client carries and can't change."""
    confirm = form("Please confirm", "ok", "boolean")

    @server.tool()
    async def test_input_required_result_request_state(ctx: Asked) -> str | InputRequiredResult:
        if ctx.request_state == "asked" and has_answers(ctx, "confirm"):
            return "state-ok"
        return InputRequiredResult(input_requests={"confirm": confirm}, request_state="asked")

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: Asked) -> str | InputRequiredResult:
        if ctx.request_state == "asked" and has_answers(ctx, "confirm"):
            return "state-ok"
        return InputRequiredResult(input_requests={"confirm": confirm}, request_state="asked")

    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: Asked) -> str | InputRequiredResult:
        wanted: dict[str, InputRequest] = {
            "user_name": form("What is your name?", "name"),
            "greeting": sampling("Generate a greeting", 50),
            "client_roots": ListRootsRequest(),
        }
        if has_answers(ctx, *wanted):
            return "complete"
        return InputRequiredResult(input_requests=wanted, request_state="asked")

    @server.tool()
    async def test_input_required_result_multi_round(ctx: Asked) -> str | InputRequiredResult:
        if ctx.request_state == "second" and has_answers(ctx, "step2"):
            return "complete"
        if ctx.request_state == "first" and has_answers(ctx, "step1"):
            question = form("Step 2: What is your favorite color?", "color")
            return InputRequiredResult(input_requests={"step2": question}, request_state="second")
        question = form("Step 1: What is your name?", "name")
        return InputRequiredResult(input_requests={"step1": question}, request_state="first")
