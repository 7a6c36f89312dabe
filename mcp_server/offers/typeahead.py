"""What a client may propose while a person types an argument of a prompt, or the id of a resource."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    PromptReference,
    ResourceTemplateReference,
)

from db.domain.errors import SalesAutomationError
from db.domain.field_limits import EMAIL_MAX
from db.services.reports import typeahead
from mcp_server.offers.prompts.base import Argument, Prompt
from mcp_server.offers.resources.catalogue import Resource
from mcp_server.process import unexpected
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session

logger = logging.getLogger(__name__)

# The protocol's bound on the values of one answer.
_SHOWN = 100
# More matches than these help nobody, and counting them would take as long as they are many.
_COUNTED = 1_000


def complete(
    app: App,
    reference: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    *,
    prompts: Mapping[str, Prompt],
    resources: Mapping[str, Resource],
) -> Completion:
    """Returns values for an argument that start like what is typed, the newest first.

    total is left out where there are more than 1,000. MCPError for what is not offered, and without a database.
    """
    if isinstance(reference, ResourceTemplateReference):
        noun: str | None = _resource_of(reference, argument.name, resources).noun
    else:
        asked = _argument_of(reference, argument.name, prompts)
        if asked.choices is not None:
            return _answer([choice for choice in asked.choices(app.clock()) if choice.startswith(argument.value)])
        noun = asked.completes
    return _answer(_ids(app, noun, argument.value)) if noun is not None else Completion(values=[])


def _resource_of(reference: ResourceTemplateReference, name: str, resources: Mapping[str, Resource]) -> Resource:
    for resource in resources.values():
        if resource.uri_template == reference.uri and name == "id":
            return resource
    there = ", ".join(resource.uri_template for resource in resources.values()) or "none"
    raise MCPError(code=INVALID_PARAMS, message=f"Nothing to complete there. Resource templates are: {there}.")


def _argument_of(reference: PromptReference, name: str, prompts: Mapping[str, Prompt]) -> Argument:
    prompt = prompts.get(reference.name)
    if prompt is None:
        raise MCPError(code=INVALID_PARAMS, message=f"No such prompt. There are: {', '.join(prompts) or 'none'}.")
    known = {argument.name: argument for argument in prompt.arguments}
    if name not in known:
        raise MCPError(code=INVALID_PARAMS, message=f"{prompt.name} has no such argument. It has: {', '.join(known)}.")
    return known[name]


def _ids(app: App, noun: str, typed: str) -> list[str]:
    begun = typed.strip()
    if len(begun) > EMAIL_MAX or not begun.isprintable():
        return []  # no name contains it, and the database could not be asked for it

    def work(session: "Session") -> list[str]:
        find = {
            "campaign": typeahead.campaigns,
            "template": typeahead.templates,
            "enrollment": typeahead.enrollments,
        }[noun]
        return [str(id_) for id_ in find(session, typed=begun, limit=_COUNTED + 1)]

    try:
        return app.run(f"complete {noun}", work, read_only=True)
    except SalesAutomationError as refusal:
        raise MCPError(code=INTERNAL_ERROR, message=refusal.for_clients) from refusal
    except Exception as error:  # noqa: BLE001  the SDK would tell its words
        raise MCPError(code=INTERNAL_ERROR, message=unexpected.told(logger, f"complete {noun}", error)) from None


def _answer(values: list[str]) -> Completion:
    return Completion(
        values=values[:_SHOWN],
        total=len(values) if len(values) <= _COUNTED else None,
        has_more=len(values) > _SHOWN,
    )
