"""How a function becomes a tool: one call is one transaction, one answer, one refusal that says what to do next."""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, TypeVar, get_args

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool as OfferedTool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field
from pydantic_core import to_json, to_jsonable_python

from db import services
from db.domain.access import Scope
from db.domain.errors import InvalidInput, SalesAutomationError, StoreUnavailable
from db.domain.rules import IDEMPOTENCY_KEY_MAX
from mcp_server import audit, caller, views
from mcp_server.app import App
from mcp_server.caller import Invocation
from mcp_server.schemas.base import Answer, Line, Rejected
from mcp_server.schemas.lean import lean_input, lean_output

if TYPE_CHECKING:
    from db.domain.access import AuditEntry
    from db.local.protocol import CacheStore, JobStore
    from db.services import Session

# The SDK drops unknown arguments in silence and repeats values in its errors. A model that misspells an argument must
# hear of it, and what it sent may be somebody's address.
ArgModelBase.model_config.update(extra="forbid", hide_input_in_errors=True)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", bound=Answer)


@dataclass(slots=True)
class Call:
    """What a tool works with besides its arguments: the open transaction or the local store, and the moment."""

    app: App
    now: datetime
    transaction: "Session | None"
    tool: "Tool"
    invocation: Invocation
    events: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """(provider, verdict) -> events of this call, which count once it is committed"""
    is_done: bool = False
    """The tool has answered; its transaction is still open."""

    def note(self, session: "Session", answer: dict[str, Any]) -> None:
        """Write this call into the audit log, in the transaction that does its work. Only tools that open their
        transactions by themselves call it."""
        services.audit.write(session, entries=[self.entry(answer)])

    def entry(self, answer: dict[str, Any]) -> "AuditEntry":
        """What the audit log says of this call."""
        hashed = not self.tool.keeps_nothing
        return audit.entry_of(self.invocation, self.tool.name, answer, hashed=hashed, now=self.now)

    @property
    def session(self) -> "Session":
        """The transaction of this call. Tools of a local toolset have none."""
        assert self.transaction is not None, "a local toolset has no transaction"
        return self.transaction

    @property
    def jobs(self) -> "JobStore":
        """The job queue of the local store."""
        return self.app.local().jobs

    @property
    def cache(self) -> "CacheStore":
        """The cache of the local store."""
        return self.app.local().cache


IdempotencyKey = Annotated[Line | None, Field(min_length=1, max_length=IDEMPOTENCY_KEY_MAX)]
"""Any text. What it does is said in the server's instructions, once for all tools."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function with what clients are told about it. `function` takes a Call and the tool's own arguments."""

    function: Callable[..., Answer]
    title: str
    read_only: bool
    destructive: bool
    idempotent: bool
    is_local: bool
    scope: Scope
    keeps_nothing: bool = False
    is_shared: bool = False
    is_audited: bool = True
    """Its writes leave a row in the audit log."""

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def answer(self) -> type[Answer]:
        """The shape of its answers in full, of which clients are told the outline."""
        return inspect.signature(self.function).return_annotation

    def annotations(self) -> ToolAnnotations:
        return ToolAnnotations(
            read_only_hint=self.read_only,
            destructive_hint=self.destructive,
            idempotent_hint=self.idempotent,
            # Nothing leaves this system: providers and people are written to by whoever claims the actions.
            open_world_hint=False,
        )


class Toolset:
    """Tools of one noun, registered together. `summary` is one sentence for the server's instructions.

    The tools are declared in the module of the same name under mcp_server.tools. Those of a `is_local` toolset work on
    the local store, and need no database unless a call has an idempotency_key. `scope` is what a token must have for
    any of its tools; left out, it is `read` for those that change nothing, and `write` for the others.

    prompts: names in mcp_server.prompts that read alone; writing_prompts: those whose tools write. resources: nouns in
    mcp_server.resources. views: tools whose answers have a view of the same name in mcp_server.views.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        is_local: bool = False,
        scope: Scope | None = None,
        prompts: Sequence[str] = (),
        writing_prompts: Sequence[str] = (),
        resources: Sequence[str] = (),
        views: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.summary = summary
        self.is_local = is_local
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
        """The names of the prompts; of those that write only if `read_only` is off."""
        return [*self._prompts, *(() if read_only else self._writing_prompts)]

    def read(
        self, title: str, *, keeps_nothing: bool = False
    ) -> Callable[[Callable[Concatenate[Call, Arguments], Result]], Callable[Concatenate[Call, Arguments], Result]]:
        """Declare a tool that changes nothing; it runs in a read-only transaction, or with `keeps_nothing` in none."""
        return self._declare(title, read_only=True, destructive=False, idempotent=True, keeps_nothing=keeps_nothing)

    def write(
        self,
        title: str,
        *,
        destructive: bool = False,
        idempotent: bool = False,
        keeps_nothing: bool = False,
        is_shared: bool = False,
        is_audited: bool = True,
    ) -> Callable[[Callable[Concatenate[Call, Arguments], Result]], Callable[Concatenate[Call, Arguments], Result]]:
        """Declare a tool that changes something; it takes an idempotency_key. `destructive`: it can't be undone;
        `idempotent`: the same call twice has the effect of one. `keeps_nothing`: it opens its transactions by itself,
        and neither its answer nor a hash of its arguments is kept under the key: repeating it must be safe by itself.
        `is_shared`: without a key, calls at the same time share a transaction of App's, and the tool gets none.
        `is_audited`: off for the small steps of those who work on the queue and the cache, which no log could hold.
        """
        return self._declare(
            title,
            read_only=False,
            destructive=destructive,
            idempotent=idempotent,
            keeps_nothing=keeps_nothing,
            is_shared=is_shared,
            is_audited=is_audited,
        )

    def _declare(
        self,
        title: str,
        *,
        read_only: bool,
        destructive: bool,
        idempotent: bool,
        keeps_nothing: bool = False,
        is_shared: bool = False,
        is_audited: bool = False,
    ) -> Callable[[Callable[Concatenate[Call, Arguments], Result]], Callable[Concatenate[Call, Arguments], Result]]:
        def declare(
            function: Callable[Concatenate[Call, Arguments], Result],
        ) -> Callable[Concatenate[Call, Arguments], Result]:
            scope = self.scope or (Scope.READ if read_only else Scope.WRITE)
            self._tools.append(
                Tool(
                    function,
                    title,
                    read_only,
                    destructive,
                    idempotent,
                    self.is_local,
                    scope,
                    keeps_nothing,
                    is_shared,
                    is_audited,
                )
            )
            return function

        return declare

    def offer(self, app: App, *, read_only: bool) -> list[OfferedTool]:
        """The tools as the SDK wants them; those that write only if `read_only` is off."""
        offered = [tool for tool in self.tools if tool.read_only or not read_only]
        return [_offer(tool, app, has_view=tool.name in self.views) for tool in offered]


class _Metadata(FuncMetadata):
    """The SDK reads JSON out of texts, since some clients send lists and objects so. An optional text is none of them,
    whatever it looks like."""

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        fields = self.arg_model.model_fields
        read = super().pre_parse_json(data)
        for name, value in read.items():
            if isinstance(value, dict | list) and name in fields and _is_text(fields[name].annotation):
                read[name] = data[name]
        return read


def _is_text(annotation: object) -> bool:
    """Whether it is text or nothing."""
    kinds = [getattr(kind, "__origin__", kind) for kind in get_args(annotation)]
    return bool(kinds) and all(kind is str or kind is NoneType for kind in kinds)


def _offer(tool: Tool, app: App, *, has_view: bool) -> OfferedTool:
    offered = OfferedTool.from_function(
        _handler(tool, app),
        name=tool.name,
        title=tool.title,
        description=_description(tool.function),
        annotations=tool.annotations(),
        meta={"ui": {"resourceUri": views.address(tool.name)}} if has_view else None,
    )
    offered.parameters = lean_input(offered.parameters)
    offered.fn_metadata = _Metadata(**dict(offered.fn_metadata))
    offered.fn_metadata.output_schema = lean_output(offered.fn_metadata.output_schema or {})
    # The SDK would validate each answer again, on the event loop; a model of that very schema has just written it.
    offered.fn_metadata.output_model = None
    return offered


def _description(function: Callable[..., Answer]) -> str:
    """The docstring, a line for each paragraph."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def _handler(tool: Tool, app: App) -> Callable[..., CallToolResult]:
    """The function that the SDK calls: it has the tool's signature, less the Call, and plus the idempotency key."""

    def handle(**arguments: Any) -> CallToolResult:  # noqa: ANN401  checked by the SDK against the signature
        key: str | None = arguments.pop("idempotency_key", None)
        invocation = caller.current()
        missing = caller.missing_scope(invocation.caller, tool.scope, tool.name)
        if missing is not None:
            _note_refusal(tool, app, invocation, "MissingScope")
            raise ToolError(missing)
        try:
            return _result(_run(tool, app, invocation, arguments, key))
        except SalesAutomationError as refusal:
            # What the store can't do now it can't note either, and the caller tries again.
            if not isinstance(refusal, StoreUnavailable):
                _note_refusal(tool, app, invocation, type(refusal).__name__)
            raise ToolError(str(refusal)) from refusal

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


def _run(tool: Tool, app: App, invocation: Invocation, arguments: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The answer of one call, in a transaction if the tool works in one."""
    calls: list[Call] = []

    def begin(session: "Session | None") -> Call:
        calls.append(Call(app, app.clock(), session, tool, invocation))
        return calls[-1]

    def work(session: "Session") -> dict[str, Any]:
        return _perform(tool, begin(session), arguments, key)

    if tool.keeps_nothing or ((tool.is_local or tool.is_shared) and key is None):
        answer = tool.function(begin(None), **arguments).model_dump(mode="json")
        if tool.is_local and tool.is_audited:
            audit.done_apart(app, invocation=invocation, tool=tool.name, answer=answer)
    elif tool.is_local:
        answer = _run_once(tool, app, work, calls)
    else:
        answer = app.run(tool.name, work, read_only=tool.read_only)
    for (provider, verdict), count in calls[-1].events.items():
        app.telemetry.events.add(provider, verdict, count)
    return answer


def _run_once(
    tool: Tool, app: App, work: "Callable[[Session], dict[str, Any]]", calls: Sequence[Call]
) -> dict[str, Any]:
    """The answer of a call on the local store under a key. What that store did is not undone with the transaction."""
    try:
        return app.database().run(tool.name, work, attempts=1)
    except SalesAutomationError as error:
        if not calls or not calls[-1].is_done:
            raise
        raise StoreUnavailable(
            f"{tool.name} was done, but the database could not keep its answer under the idempotency_key. Look before "
            "you repeat it: it would be done again."
        ) from error


def _note_refusal(tool: Tool, app: App, invocation: Invocation, error: str) -> None:
    if tool.is_audited:
        audit.refused(app, invocation=invocation, tool=tool.name, hashed=not tool.keeps_nothing, error=error)


def _perform(tool: Tool, call: Call, arguments: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The answer as the client sees it: a new one, or the one that was given under `key` before."""
    if key is not None:
        request = _fingerprint(arguments)
        earlier = services.idempotency.replay(call.session, key=key, tool=tool.name, request_hash=request)
        if earlier is not None:
            return earlier
    answer = tool.function(call, **arguments).model_dump(mode="json")
    call.is_done = True
    if key is not None:
        services.idempotency.keep(call.session, key=key, response=answer)
    if tool.is_audited:
        call.note(call.session, answer)
    return answer


def _fingerprint(arguments: dict[str, Any]) -> str:
    try:
        return services.idempotency.fingerprint(to_jsonable_python(arguments, fallback=_as_given))
    except ValueError as error:
        raise InvalidInput(
            "With an idempotency_key, no argument may hold text that is not Unicode or be nested too deep: a repeated "
            "call could not be told from another. Correct the arguments, or leave the key out."
        ) from error


def _as_given(value: object) -> object:
    """A row that was refused, as the client sent it."""
    return to_jsonable_python(value.given, fallback=str) if isinstance(value, Rejected) else str(value)


def _result(answer: dict[str, Any]) -> CallToolResult:
    # Compact: the SDK's own text copy is indented, which costs a reader a third more tokens.
    text = TextContent(type="text", text=to_json(answer).decode())
    return CallToolResult(content=[text], structured_content=answer)
