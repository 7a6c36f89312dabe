"""The MCP conformance suite on the server as it is shipped, and on the same app with the fixtures that the suite needs.

A scenario may pass on a server that lacks the tool it calls, so the checks are read here, and not the suite's own tick.
"""

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.judges.node import Node

Checks = Sequence[dict[str, Any]]
Verdicts = Mapping[tuple[str, str], Mapping[str, Checks]]
"""(server, revision) -> scenario -> checks"""

REVISIONS = ["2025-11-25", "2026-07-28"]

SHIPPED = {
    "2025-11-25": [
        "dns-rebinding-protection",
        "ping",
        "prompts-list",
        "resources-list",
        "server-initialize",
        "server-session-lifecycle",
        "server-sse-multiple-streams",
        "tools-list",
    ],
    "2026-07-28": [
        "caching",
        "dns-rebinding-protection",
        "http-header-validation",
        "prompts-list",
        "resources-list",
        "sep-2164-resource-not-found",
        "server-sse-multiple-streams",
        "server-stateless",
        "tools-list",
    ],
}
"""Scenarios that need nothing of a server but that it is one."""

FIXTURES = {
    "2025-11-25": [
        "completion-complete",
        "elicitation-sep1034-defaults",
        "elicitation-sep1330-enums",
        "json-schema-2020-12",
        "logging-set-level",
        "prompts-get-embedded-resource",
        "prompts-get-simple",
        "prompts-get-with-args",
        "prompts-get-with-image",
        "resources-read-binary",
        "resources-read-text",
        "resources-subscribe",
        "resources-templates-read",
        "resources-unsubscribe",
        "tools-call-audio",
        "tools-call-elicitation",
        "tools-call-embedded-resource",
        "tools-call-error",
        "tools-call-image",
        "tools-call-mixed-content",
        "tools-call-sampling",
        "tools-call-simple-text",
        "tools-call-with-logging",
        "tools-call-with-progress",
    ],
    "2026-07-28": [
        "completion-complete",
        "http-custom-header-server-validation",
        "input-required-result-basic-elicitation",
        "input-required-result-basic-list-roots",
        "input-required-result-basic-sampling",
        "input-required-result-capability-check",
        "input-required-result-ignore-extra-params",
        "input-required-result-missing-input-response",
        "input-required-result-multi-round",
        "input-required-result-multiple-input-requests",
        "input-required-result-non-tool-request",
        "input-required-result-request-state",
        "input-required-result-result-type",
        "input-required-result-tampered-state",
        "input-required-result-unsupported-methods",
        "input-required-result-validate-input",
        "json-schema-2020-12",
        "prompts-get-embedded-resource",
        "prompts-get-simple",
        "prompts-get-with-args",
        "prompts-get-with-image",
        "resources-read-binary",
        "resources-read-text",
        "resources-templates-read",
        "tools-call-audio",
        "tools-call-embedded-resource",
        "tools-call-error",
        "tools-call-image",
        "tools-call-mixed-content",
        "tools-call-simple-text",
        "tools-call-with-progress",
    ],
}
"""Scenarios that call for tools, prompts or resources by name."""

SHIPPED_WITH_FIXTURES = ["server-stateless", "caching"]
"""Scenarios of SHIPPED that check more where the fixtures are; judged on both servers."""

NOT_JUDGED = {
    "server-sse-polling": "the suite holds it pending, and it wants a server that stores the events of its streams",
    **dict.fromkeys(
        [
            "tasks-capability-negotiation",
            "tasks-dispatch-and-envelope",
            "tasks-lifecycle",
            "tasks-mrtr-composition",
            "tasks-mrtr-input",
            "tasks-request-headers",
            "tasks-request-state-removal",
            "tasks-required-task-error",
            "tasks-status-notifications",
            "tasks-wire-fields",
        ],
        "an extension that is not offered: long work goes through the job queue",
    ),
}

NO_TOOL = "calls a tool that only the fixtures have, and is judged there"
NEVER_CHANGES = "wants a tool that changes what is offered; here that stays the same while a server runs"
EXPECTED = {
    ("shipped", "sep-2575-server-rejects-undeclared-capability"): NO_TOOL,
    ("shipped", "sep-2575-missing-capability-http-400"): NO_TOOL,
    ("shipped", "sep-2575-server-sends-prompts-list-changed-on-subscription"): NEVER_CHANGES,
    ("shipped", "sep-2575-server-sends-tools-list-changed-on-subscription"): NEVER_CHANGES,
}
"""(server, check) -> why it is not met"""


@pytest.fixture(scope="module")
def verdicts(judges: Node, shipped: str, everything: str, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    servers = {"shipped": shipped, "everything": everything}

    def judge(server: str) -> dict[tuple[str, str], dict[str, Checks]]:
        target = tmp_path_factory.mktemp(server)
        return {
            (server, revision): conformance(judges, servers[server], revision, target / revision)
            for revision in REVISIONS
        }

    with ThreadPoolExecutor() as pool:
        first, second = pool.map(judge, servers)
    return {**first, **second}


def conformance(judges: Node, base: str, revision: str, target: Path) -> dict[str, Checks]:
    """scenario -> checks of a whole requirement set."""
    ran = judges.run(
        "conformance", "server", "--url", f"{base}/mcp", "--requirements", revision, "--output-dir", target
    )
    found: dict[str, Checks] = {}
    for path in target.glob("*/checks.json"):
        match = re.fullmatch(r"server-(.+?)-\d{4}-\d\d-\d\dT.*", path.parent.name)
        assert match, path
        found[match[1]] = json.loads(path.read_text("utf-8"))
    assert found, ran.stdout + ran.stderr
    return found


def unmet(server: str, checks: Checks) -> list[str]:
    """The checks that neither passed nor only told something, less those that are expected."""
    return [
        f"{check['id']} {check['status']}: {check.get('errorMessage')}"
        for check in checks
        if check["status"] not in ("SUCCESS", "INFO") and (server, check["id"]) not in EXPECTED
    ]


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_scenario_of_the_suite_is_judged_or_has_a_reason_not_to_be(verdicts: Verdicts, revision: str) -> None:
    for server in ("shipped", "everything"):
        ran = set(verdicts[server, revision])
        assert ran - set(NOT_JUDGED) == {*SHIPPED[revision], *FIXTURES[revision]}


@pytest.mark.parametrize(
    ("revision", "scenario"), [(revision, name) for revision in REVISIONS for name in SHIPPED[revision]]
)
def test_the_shipped_server_conforms(verdicts: Verdicts, revision: str, scenario: str) -> None:
    checks = verdicts["shipped", revision][scenario]
    assert any(check["status"] == "SUCCESS" for check in checks)
    assert unmet("shipped", checks) == []


@pytest.mark.parametrize(
    ("revision", "scenario"),
    [
        (revision, name)
        for revision in REVISIONS
        for name in [*FIXTURES[revision], *(name for name in SHIPPED_WITH_FIXTURES if name in SHIPPED[revision])]
    ],
)
def test_the_same_app_conforms_where_the_suite_needs_fixtures(verdicts: Verdicts, revision: str, scenario: str) -> None:
    checks = verdicts["everything", revision][scenario]
    assert any(check["status"] == "SUCCESS" for check in checks)
    assert unmet("everything", checks) == []
    assert "Unknown tool" not in json.dumps(checks)


def test_every_message_of_every_scenario_fits_the_schema_of_its_revision(verdicts: Verdicts) -> None:
    seen = [
        (server, scenario, check["status"], check.get("errorMessage"))
        for (server, _), scenarios in verdicts.items()
        for scenario, checks in scenarios.items()
        for check in checks
        if check["id"] == "wire-schema-valid"
    ]
    assert len(seen) > 100
    assert [verdict for verdict in seen if verdict[2] != "SUCCESS"] == []


def test_each_expected_failure_still_fails(verdicts: Verdicts) -> None:
    unneeded = set(EXPECTED)
    for (server, _), scenarios in verdicts.items():
        for check in (check for checks in scenarios.values() for check in checks):
            if check["status"] not in ("SUCCESS", "INFO"):
                unneeded.discard((server, check["id"]))
    assert not unneeded
