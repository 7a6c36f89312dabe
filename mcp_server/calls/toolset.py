"""How a function becomes a tool: declared in a toolset, and offered to clients with its schemas and hints. What goes
wrong in a call becomes a refusal that says what to do next."""

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
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
from mcp_server.process import unexpected
from mcp_server.process.app import App
from mcp_server.schemas.base import Answer, Line, without_nothings

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
    mcp_server.calls.run; `again`, `looks_up`: see Tool. `scope`: another than its toolset's. `is_audited`: off for the
    small steps of those who work on the job queue and the cache, which no log could hold.
    """

    destructive: bool
    idempotent: bool
    mode: Mode
    open_world: bool
    is_audited: bool
    scope: Scope
    again: "Callable[[Call, dict[str, Any]], dict[str, Any]]"
    looks_up: "Callable[[App, Mapping[str, Any]], Any]"


class Toolset:
    """Tools of one noun, registered together. `summary` is one sentence for the server's instructions.

    The tools are declared in the module of the same name under mcp_server.tools, and in others there that `more` names.
    They work in its `mode` unless one says otherwise. `scope` is what a token must have for any of them; left out, it
    is `read` for those that change nothing, and `write` for the others.

    prompts: names in mcp_server.offers.prompts that read alone; writing_prompts: those whose tools write. resources:
    nouns in mcp_server.offers.resources. views: tools whose answers have a view of the same name in
    mcp_server.offers.views.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        more: Sequence[str] = (),
        mode: Mode = Mode.TRANSACTION,
        scope: Scope | None = None,
        prompts: Sequence[str] = (),
        writing_prompts: Sequence[str] = (),
        resources: Sequence[str] = (),
        views: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.summary = summary
        self.more = more
        self.mode = mode
        self.scope = scope
        self.resources = resources
        self.views = views
        self._prompts = prompts
        self._writing_prompts = writing_prompts
        self._tools: list[Tool] = []

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools. Their modules are imported when they are first asked for, which a client need not wait for."""
        modules = [f"mcp_server.tools.{name}" for name in (self.name, *self.more)]
        for module in modules:
            import_module(module)
        # In this order, whichever was imported first.
        return sorted(self._tools, key=lambda tool: modules.index(tool.function.__module__))

    def prompts(self, *, read_only: bool) -> list[str]:
        """Returns the names of the prompts; of those that write only if `read_only` is off."""
        return [*self._prompts, *(() if read_only else self._writing_prompts)]

    def read(self, title: str, *, mode: Mode | None = None, open_world: bool = False) -> Decorator[Arguments, Result]:
        """Declares a tool that changes nothing; if it runs in a transaction, then in a read-only one. `open_world`: it
        asks servers of others."""
        return self._declare(
            title,
            read_only=True,
            idempotent=True,
            mode=mode or self.mode,
            open_world=open_world,
            is_audited=False,
        )

    def write(self, title: str, **traits: Unpack[Traits]) -> Decorator[Arguments, Result]:
        """Declares a tool that changes something; it takes an idempotency_key."""
        return self._declare(title, **traits)

    def _declare(
        self, title: str, *, read_only: bool = False, **traits: Unpack[Traits]
    ) -> Decorator[Arguments, Result]:
        traits.setdefault("mode", self.mode)
        traits.setdefault("scope", self.scope or (Scope.READ if read_only else Scope.WRITE))

        def declare(function: Function[Arguments, Result]) -> Function[Arguments, Result]:
            self._tools.append(Tool(function=function, title=title, read_only=read_only, **traits))
            return function

        return declare

    def offer(self, app: App, *, read_only: bool) -> list[OfferedTool]:
        """Returns the tools as the SDK wants them; those that write only if `read_only` is off."""
        offered = [tool for tool in self.tools if tool.read_only or not read_only]
        return [_offer(tool, app, has_view=tool.name in self.views) for tool in offered]


class _Metadata(FuncMetadata):
    """The SDK reads JSON out of texts, since some clients send lists and objects so. Where a text is welcome, it stays
    what it is, whatever it looks like. Null and an empty text are taken for nothing where nothing need be given."""

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        fields = self.arg_model.model_fields
        data = without_nothings(data, fields)
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
    return _described(tool, has_view=has_view).model_copy(update={"fn": _handler(tool, app)})


@cache
def _described(tool: Tool, *, has_view: bool) -> OfferedTool:
    """Returns the tool as it is told to clients, which is the same for every server of a process, and takes pydantic 5
    ms to make."""
    offered = OfferedTool.from_function(
        _of_signature(tool),
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
        # Whoever claims the actions writes to providers and people; of the tools few leave this system.
        open_world_hint=tool.open_world,
    )


def _description(function: Callable[..., Answer]) -> str:
    """Returns the docstring, a line for each paragraph."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def _handler(tool: Tool, app: App) -> Callable[..., CallToolResult]:
    """Returns the function that the SDK calls, with arguments that it has checked."""

    def handle(**arguments: Any) -> CallToolResult:  # noqa: ANN401  checked by the SDK against the signature
        key: str | None = arguments.pop("idempotency_key", None)
        try:
            return _result(run(tool, app, caller.current(), arguments, key))
        except SalesAutomationError as refusal:
            raise ToolError(refusal.for_clients) from refusal
        except Exception as error:
            raise _fault(tool, error) from error

    return handle


def _of_signature(tool: Tool) -> Callable[..., CallToolResult]:
    """Returns a function that the SDK reads the arguments of: the tool's, less the Call, and plus the idempotency
    key."""

    def described(**_: Any) -> CallToolResult:  # noqa: ANN401  only its signature counts
        raise NotImplementedError

    signature = inspect.signature(tool.function)
    parameters = list(signature.parameters.values())[1:]
    if not tool.read_only:
        key = inspect.Parameter(
            "idempotency_key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=IdempotencyKey
        )
        parameters.append(key)
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    returns = Annotated[CallToolResult, signature.return_annotation]
    described.__signature__ = inspect.Signature(keyword_only, return_annotation=returns)  # type: ignore[attr-defined]
    described.__name__ = tool.name
    return described


def _fault(tool: Tool, error: Exception) -> UnexpectedToolError:
    """Returns what is told of an error that nobody expected; the log has the rest under the id of the fault."""
    # The SDK logs the trace, with the words of the error that is returned here.
    return UnexpectedToolError(unexpected.told(logger, tool.name, error))


def _result(answer: dict[str, Any]) -> CallToolResult:
    # Compact: the SDK indents its text copy, which costs a reader a third more tokens.
    text = TextContent(type="text", text=to_json(answer).decode())
    return CallToolResult(content=[text], structured_content=answer)
