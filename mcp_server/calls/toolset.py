"""How a function becomes a tool: declared in a toolset, and offered to clients with its schemas and hints. What goes
wrong in a call becomes a refusal that says what to do next."""

import inspect
import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from secrets import token_hex
from types import NoneType
from typing import Annotated, Any, Concatenate, ParamSpec, TypedDict, TypeVar, Unpack, get_args

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool as OfferedTool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field, JsonValue
from pydantic_core import to_json

from db.domain.access import Scope
from db.domain.errors import SalesAutomationError
from db.domain.field_limits import IDEMPOTENCY_KEY_MAX
from mcp_server.calls import caller
from mcp_server.calls.call import Call, Mode, Tool
from mcp_server.calls.lean import lean_input, lean_output
from mcp_server.calls.run import run
from mcp_server.offers import views
from mcp_server.process.app import App
from mcp_server.schemas.base import Answer, Line, without_nulls

logger = logging.getLogger(__name__)

# The SDK silently drops unknown arguments and repeats values in its errors. A model that misspells an argument must be
# told, and what it sent may be somebody's address.
ArgModelBase.model_config.update(extra="forbid", hide_input_in_errors=True)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", bound=Answer)
Function = Callable[Concatenate[Call, Arguments], Result]
Decorator = Callable[[Function[Arguments, Result]], Function[Arguments, Result]]

IdempotencyKey = Annotated[Line | None, Field(min_length=1, max_length=IDEMPOTENCY_KEY_MAX)]
"""Any text. The server's instructions say what it does, once for all tools."""


class Traits(TypedDict, total=False):
    """What is special about a tool that writes.

    `destructive`: it can't be undone; `idempotent`: the same call twice has the effect of one. `mode`: see
    mcp_server.calls.run. `is_audited`: off for the small steps of those who work on the job queue and the cache, which
    no log could hold.
    """

    destructive: bool
    idempotent: bool
    mode: Mode
    is_audited: bool
    again: "Callable[[Call, dict[str, Any]], dict[str, Any]]"


class Toolset:
    """Tools of one noun, registered together. `summary` is one sentence for the server's instructions.

    The tools are declared in the module of the same name under mcp_server.tools, and work in its `mode` unless one says
    otherwise. `scope` is what a token must have for any of them; left out, it is `read` for those that change nothing,
    and `write` for the others.

    prompts: names in mcp_server.offers.prompts that read alone; writing_prompts: those whose tools write. resources:
    nouns in mcp_server.offers.resources. views: tools whose answers have a view of the same name in
    mcp_server.offers.views.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        mode: Mode = Mode.TRANSACTION,
        scope: Scope | None = None,
        prompts: Sequence[str] = (),
        writing_prompts: Sequence[str] = (),
        resources: Sequence[str] = (),
        views: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.summary = summary
        self.mode = mode
        self.scope = scope
        self.resources = resources
        self.views = views
        self._prompts = prompts
        self._writing_prompts = writing_prompts
        self._tools: list[Tool] = []

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools. Their module is imported when they are first asked for, which a client need not wait for."""
        import_module(f"mcp_server.tools.{self.name}")
        return self._tools

    def prompts(self, *, read_only: bool) -> list[str]:
        """Returns the names of the prompts; of those that write only if `read_only` is off."""
        return [*self._prompts, *(() if read_only else self._writing_prompts)]

    def read(self, title: str, *, mode: Mode | None = None) -> Decorator[Arguments, Result]:
        """Declares a tool that changes nothing; if it runs in a transaction, then in a read-only one."""
        return self._declare(title, read_only=True, idempotent=True, mode=mode or self.mode, is_audited=False)

    def write(self, title: str, **traits: Unpack[Traits]) -> Decorator[Arguments, Result]:
        """Declares a tool that changes something; it takes an idempotency_key."""
        return self._declare(title, **traits)

    def _declare(
        self, title: str, *, read_only: bool = False, **traits: Unpack[Traits]
    ) -> Decorator[Arguments, Result]:
        traits.setdefault("mode", self.mode)
        scope = self.scope or (Scope.READ if read_only else Scope.WRITE)

        def declare(function: Function[Arguments, Result]) -> Function[Arguments, Result]:
            self._tools.append(Tool(function=function, title=title, scope=scope, read_only=read_only, **traits))
            return function

        return declare

    def offer(self, app: App, *, read_only: bool) -> list[OfferedTool]:
        """Returns the tools as the SDK wants them; those that write only if `read_only` is off."""
        offered = [tool for tool in self.tools if tool.read_only or not read_only]
        return [_offer(tool, app, has_view=tool.name in self.views) for tool in offered]


class _Metadata(FuncMetadata):
    """The SDK reads JSON out of texts, since some clients send lists and objects so. Where a text is welcome, it stays
    what it is, whatever it looks like. Null is taken for nothing where nothing need be given."""

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        fields = self.arg_model.model_fields
        data = without_nulls(data, fields)
        read = super().pre_parse_json(data)
        for name, value in read.items():
            if value is not data[name] and name in fields and _may_be_text(fields[name].annotation):
                read[name] = data[name]
        return read


def _may_be_text(annotation: object) -> bool:
    """Returns whether it is any JSON, or text or nothing."""
    if annotation is JsonValue:
        return True
    kinds = [getattr(kind, "__origin__", kind) for kind in get_args(annotation)]
    return bool(kinds) and all(kind is str or kind is NoneType for kind in kinds)


def _offer(tool: Tool, app: App, *, has_view: bool) -> OfferedTool:
    offered = OfferedTool.from_function(
        _handler(tool, app),
        name=tool.name,
        title=tool.title,
        description=_description(tool.function),
        annotations=_hints(tool),
        meta={"ui": {"resourceUri": views.address(tool.name)}} if has_view else None,
    )
    offered.parameters = lean_input(offered.parameters)
    offered.fn_metadata = _Metadata(**dict(offered.fn_metadata))
    offered.fn_metadata.output_schema = lean_output(offered.fn_metadata.output_schema or {})
    # The SDK would validate each answer again, on the event loop, although a model of that very schema has just written
    # it.
    offered.fn_metadata.output_model = None
    return offered


def _hints(tool: Tool) -> ToolAnnotations:
    return ToolAnnotations(
        read_only_hint=tool.read_only,
        destructive_hint=tool.destructive,
        idempotent_hint=tool.idempotent,
        # Nothing leaves this system: whoever claims the actions writes to providers and people.
        open_world_hint=False,
    )


def _description(function: Callable[..., Answer]) -> str:
    """Returns the docstring, a line for each paragraph."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def _handler(tool: Tool, app: App) -> Callable[..., CallToolResult]:
    """Returns the function that the SDK calls: it has the tool's signature, less the Call, and plus the idempotency
    key."""

    def handle(**arguments: Any) -> CallToolResult:  # noqa: ANN401  checked by the SDK against the signature
        key: str | None = arguments.pop("idempotency_key", None)
        try:
            return _result(run(tool, app, caller.current(), arguments, key))
        except SalesAutomationError as refusal:
            raise ToolError(refusal.for_clients) from refusal
        except Exception as error:
            raise _fault(tool, error) from error

    signature = inspect.signature(tool.function)
    parameters = list(signature.parameters.values())[1:]
    if not tool.read_only:
        key = inspect.Parameter(
            "idempotency_key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=IdempotencyKey
        )
        parameters.append(key)
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    returns = Annotated[CallToolResult, signature.return_annotation]
    handle.__signature__ = inspect.Signature(keyword_only, return_annotation=returns)  # type: ignore[attr-defined]
    handle.__name__ = tool.name
    return handle


def _fault(tool: Tool, error: Exception) -> UnexpectedToolError:
    """Returns what is told of an error that nobody expected; the log has the rest under the id of the fault."""
    fault = token_hex(4)
    # The SDK logs the trace, with the words of the error that is returned here.
    logger.error("%s failed", tool.name, extra={"fault": fault, "error": type(error).__name__})
    return UnexpectedToolError(
        "This is a fault of the server, not of your call. Nothing was changed. Call again in a moment; if it stays, "
        f"tell an operator the fault {fault}, which the server's log holds."
    )


def _result(answer: dict[str, Any]) -> CallToolResult:
    # Compact: the SDK indents its text copy, which costs a reader a third more tokens.
    text = TextContent(type="text", text=to_json(answer).decode())
    return CallToolResult(content=[text], structured_content=answer)
