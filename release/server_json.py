"""server.json, written from the settings: `python -m release.server_json` after a change of settings or version.

It follows the schema of 2025-12-11. A client that installs the server asks its user for what is listed here.
"""

import json
import types
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mcp_server import __version__
from mcp_server.process.settings import Settings, variable

PATH = Path(__file__).parent.parent / "server.json"
NAME = "sales-automation-mcp"
REPOSITORY = f"https://github.com/{NAME}/{NAME}"

_HTTP_ONLY = {"token", "token_file", "allowed_hosts", "rate_limit", "failed_auth_limit", "unsubscribe_limit"}


class Form(StrEnum):
    """How a value is asked for."""

    TEXT = "string"
    NUMBER = "number"
    SWITCH = "boolean"
    FILE = "filepath"


_FORMS: dict[object, Form] = {bool: Form.SWITCH, int: Form.NUMBER, float: Form.NUMBER, Path: Form.FILE}


def document() -> dict[str, Any]:
    """The whole of server.json."""
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": f"io.github.{NAME}/{NAME}",
        "title": "Sales Automation",
        "description": "Sales outreach for AI agents: campaigns, contacts, events and metrics on a real PostgreSQL.",
        "repository": {"url": REPOSITORY, "source": "github"},
        "version": __version__,
        "packages": [_stdio(), _http()],
        "remotes": [_remote("streamable-http", "mcp"), _remote("sse", "sse")],
    }


def _package(transport: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401  JSON of any shape
    return {
        "registryType": "pypi",
        "identifier": NAME,
        "version": __version__,
        "runtimeHint": "uvx",
        "transport": transport,
        **more,
    }


def _stdio() -> dict[str, Any]:
    names = [name for name in Settings.model_fields if not is_http_only(name)]
    return _package({"type": "stdio"}, environmentVariables=[_input(name) for name in names])


def is_http_only(name: str) -> bool:
    """Whether a server on stdio never reads a setting. It clears away the bodies of webhook requests as any other."""
    return name in _HTTP_ONLY or (name.startswith("webhook_") and name != "webhook_body_days")


def _http() -> dict[str, Any]:
    port = "Port to listen on. The server listens on loopback, and needs no token there."
    return _package(
        {"type": "streamable-http", "url": "http://127.0.0.1:{--port}/mcp"},
        packageArguments=[
            {"type": "positional", "value": "serve"},
            {"type": "named", "name": "--transport", "value": "streamable-http"},
            {"type": "named", "name": "--port", "description": port, "format": "number", "default": "8000"},
        ],
        environmentVariables=[_input(name) for name in Settings.model_fields],
    )


def _remote(kind: str, path: str) -> dict[str, Any]:
    """A server that somebody runs for themselves: only they know its address."""
    host = {"description": "Where your server runs.", "isRequired": True, "placeholder": "mcp.example.com"}
    token = {
        "description": "What `sales-automation-mcp tokens create` printed on that server.",
        "isRequired": True,
        "isSecret": True,
    }
    authorization = {"name": "Authorization", "value": "Bearer {token}", "variables": {"token": token}}
    return {
        "type": kind,
        "url": f"https://{{host}}/{path}",
        "variables": {"host": host},
        "headers": [{**authorization, "isRequired": True, "isSecret": True}],
    }


def _input(name: str) -> dict[str, Any]:
    """An environment variable, as a client asks for it."""
    field = Settings.model_fields[name]
    kinds = _kinds(field.annotation)
    told: dict[str, Any] = {"name": variable(name), "description": field.description, "isRequired": False}
    told["format"] = next((_FORMS[kind] for kind in kinds if kind in _FORMS), Form.TEXT)
    if SecretStr in kinds:
        told["isSecret"] = True
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if choices:
        told["choices"] = choices
    default = _default(field)
    if default is not None:
        told["default"] = default
    return told


def _kinds(annotation: object) -> list[object]:
    """The types that a value may have, bare of None and of what checks it."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for arg in get_args(annotation) if arg is not type(None) for kind in _kinds(arg)]
    return [annotation]


def _default(field: FieldInfo) -> str | None:
    """The default as text; None where there is none, or where it depends on the machine."""
    default: Any = field.default
    if default is PydanticUndefined or default is None or default == []:
        return None
    return str(default).lower() if isinstance(default, bool) else str(default)


def text() -> str:
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
