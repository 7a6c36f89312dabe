"""The prompts and resources that a server offers, with their completions. Loaded with the tools, after `initialize`."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial

from mcp.server import MCPServer
from mcp.server.apps import APP_MIME_TYPE
from mcp.server.mcpserver.resources import FunctionResource
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    GetPromptResult,
    Prompt as ListedPrompt,
    PromptArgument,
    PromptMessage,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
)

from db.domain.errors import InvalidInput
from mcp_server.offers import typeahead, views
from mcp_server.offers.prompts.base import Prompt
from mcp_server.offers.prompts.catalogue import PROMPTS
from mcp_server.offers.resources import records
from mcp_server.offers.resources.catalogue import RESOURCES, check_address
from mcp_server.offers.views import document
from mcp_server.process.app import App


class Offers:
    """The prompts, resources and views that a server offers. `prompts` and `resources` are the names of those that are
    on; prompts mention `tools` alone, and each view comes with its tool.

    This class does what the SDK would do for prompts, because the SDK's answer to a wrong argument says neither which
    nor why.
    """

    def __init__(self, app: App, prompts: Iterable[str], resources: Iterable[str], tools: Collection[str]) -> None:
        self._app = app
        self._tools = tools
        self._prompts = {prompt.name: prompt for prompt in PROMPTS if prompt.name in set(prompts)}
        self._resources = {resource.noun: resource for resource in RESOURCES if resource.noun in set(resources)}
        self._views = [view for view in views.VIEWS if view.tool in tools]

    def list_prompts(self) -> list[ListedPrompt]:
        return [_listed(prompt) for prompt in self._prompts.values()]

    def get_prompt(self, name: str, arguments: Mapping[str, str]) -> GetPromptResult:
        """Returns one message of the user. MCPError names the wrong argument, or the existing prompts."""
        prompt = self._prompts.get(name)
        if prompt is None:
            there = ", ".join(self._prompts) or "none with the toolsets of this server"
            raise MCPError(code=INVALID_PARAMS, message=f"No such prompt. There are: {there}.")
        try:
            text = prompt.render(arguments, tools=self._tools, now=self._app.clock())
        except InvalidInput as refusal:
            raise MCPError(code=INVALID_PARAMS, message=str(refusal)) from refusal
        message = PromptMessage(role="user", content=TextContent(type="text", text=text))
        return GetPromptResult(description=prompt.description, messages=[message])

    def add_resources(self, server: MCPServer[App]) -> None:
        """Registers the resource templates and the views with the SDK."""
        for resource in self._resources.values():
            read = records.reader(resource, self._app)
            add = server.resource(
                resource.uri_template,
                name=resource.noun,
                title=resource.title,
                description=resource.description,
                mime_type="application/json",
            )
            add(read)
        for view in self._views:
            server.add_resource(_resource(view))

    def check_address(self, uri: str) -> None:
        """Raises ResourceNotFoundError, with what to do instead, for an address that no record can have."""
        if uri not in {views.address(view.tool) for view in self._views}:
            check_address(uri, self._resources)

    def complete(
        self, reference: PromptReference | ResourceTemplateReference, argument: CompletionArgument
    ) -> Completion:
        """Returns type-ahead values, see typeahead.complete."""
        return typeahead.complete(self._app, reference, argument, prompts=self._prompts, resources=self._resources)


def _resource(view: views.View) -> FunctionResource:
    return FunctionResource(
        uri=views.address(view.tool),
        name=view.tool,
        title=view.title,
        description=f"Shows the answer of {view.tool}.",
        mime_type=APP_MIME_TYPE,
        # It needs nothing from anywhere.
        meta={"ui": {"csp": {}, "prefersBorder": True}},
        fn=partial(document.of_view, view),
    )


def _listed(prompt: Prompt) -> ListedPrompt:
    arguments = [
        PromptArgument(name=argument.name, description=argument.description, required=argument.required)
        for argument in prompt.arguments
    ]
    return ListedPrompt(name=prompt.name, title=prompt.title, description=prompt.description, arguments=arguments)
