"""server.json: what the registry asks for, and what the settings are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from mcp_server import __version__
from mcp_server.process.settings import Settings, variable
from release import server_json

ROOT = Path(__file__).parent.parent.parent
SERVER: dict[str, Any] = json.loads((ROOT / "server.json").read_text("utf-8"))
STDIO, HTTP = SERVER["packages"]


def faults(document: dict[str, Any]) -> list[str]:
    schema = json.loads(Path(__file__).with_name("server.schema.json").read_text("utf-8"))
    validator: Any = Draft7Validator(schema)
    return [error.message for error in validator.iter_errors(document)]


def names(package: dict[str, Any]) -> set[str]:
    return {entry["name"] for entry in package["environmentVariables"]}


def test_it_is_what_the_settings_make_of_it() -> None:
    assert (ROOT / "server.json").read_text("utf-8") == server_json.text(), "run `python -m release.server_json`"


def test_it_fits_the_schema() -> None:
    assert faults(SERVER) == []


@pytest.mark.parametrize(
    "change",
    [
        {"description": "x" * 101},
        {"name": "no-namespace"},
        {"packages": [{**STDIO, "version": "latest"}]},
        {"packages": [{**STDIO, "registryBaseUrl": "https://example.com"}]},
        {"packages": [{**STDIO, "transport": {"type": "websocket"}}]},
        {"packages": [{**STDIO, "packageArguments": [{"type": "named"}]}]},
        {"packages": [{**STDIO, "environmentVariables": [{"description": "nameless"}]}]},
        {"remotes": [{"type": "sse"}]},
        {"repository": {"url": "https://example.com/repository"}},
    ],
    ids=lambda change: json.dumps(change)[:40],
)
def test_what_the_registry_would_refuse_does_not_fit(change: dict[str, Any]) -> None:
    assert faults({**SERVER, **change})


def test_versions_agree() -> None:
    assert {SERVER["version"], STDIO["version"], HTTP["version"]} == {__version__}
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_readme_proves_whose_package_it_is() -> None:
    assert f"mcp-name: {SERVER['name']}" in (ROOT / "README.md").read_text("utf-8")


def test_every_setting_is_asked_for_where_it_is_read() -> None:
    assert names(HTTP) == {variable(name) for name in Settings.model_fields}
    assert names(HTTP) - names(STDIO) >= {"SALES_AUTOMATION_TOKEN", "SALES_AUTOMATION_WEBHOOK_SENDGRID"}
    assert names(STDIO) >= {"DATABASE_URL", "SALES_AUTOMATION_TOOLSETS", "SALES_AUTOMATION_WEBHOOK_BODY_DAYS"}


def test_what_is_secret_is_asked_for_as_a_secret_and_has_no_default() -> None:
    secret = {entry["name"]: entry for entry in HTTP["environmentVariables"] if entry.get("isSecret")}
    assert {"DATABASE_URL", "SALES_AUTOMATION_TOKEN", "SALES_AUTOMATION_WEBHOOK_BREVO"} <= set(secret)
    assert not any("default" in entry for entry in secret.values())


def test_what_is_asked_for_is_taken_by_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for entry in HTTP["environmentVariables"]:
        for value in entry.get("choices", [entry["default"]] if "default" in entry else []):
            monkeypatch.setenv(entry["name"], value)
            Settings()
            monkeypatch.delenv(entry["name"])


def test_every_variable_of_an_address_is_explained() -> None:
    arguments = {argument["name"] for argument in HTTP["packageArguments"] if "name" in argument}
    assert set(re.findall(r"{(.+?)}", HTTP["transport"]["url"])) <= arguments
    for remote in SERVER["remotes"]:
        assert set(re.findall(r"{(.+?)}", remote["url"])) == set(remote["variables"])
