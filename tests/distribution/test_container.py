"""Dockerfile and compose.yaml, as far as they can be judged where no image can be built."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml

from mcp_server import __version__
from mcp_server.process.settings import Settings, variable
from tests.support.patience import PATIENCE
from tests.support.processes import COMMAND, http_server

ROOT = Path(__file__).parent.parent.parent


def instructions() -> list[tuple[str, str]]:
    """(instruction, its arguments) of the Dockerfile, in order."""
    lines = [line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def last(instruction: str) -> str:
    return [rest for word, rest in instructions() if word == instruction][-1]


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def test_the_dockerfile_is_clean_for_its_linter() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_is_copied_is_there_and_is_all_that_the_build_is_sent() -> None:
    copied = {
        name for word, rest in instructions() if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_as_a_user_that_is_not_root_with_the_pinned_versions() -> None:
    assert last("USER") == "10001:10001"
    assert any("--constraint constraints.txt" in rest for word, rest in instructions() if word == "RUN")
    assert not re.search(
        r"(?i)password|token\s*=", " ".join(rest for word, rest in instructions() if word in ("ENV", "ARG"))
    )


def test_the_command_of_the_image_serves_and_its_health_check_tells(database_url: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-made-for-this-test\n")
    assert json.loads(last("ENTRYPOINT")) == ["sales-automation-mcp"]
    command: list[str] = json.loads(last("CMD"))
    loopback = ["127.0.0.1" if word == "0.0.0.0" else word for word in command[: command.index("--port")]]
    check: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    given = {"SALES_AUTOMATION_TOKEN_FILE": str(token), "SALES_AUTOMATION_HOME": str(tmp_path)}
    with http_server(database_url, command=[*COMMAND, *loopback], **given) as base:
        assert httpx.post(f"{base}/mcp", json={}, timeout=PATIENCE).status_code == 401
        here = [sys.executable, *(word.replace("http://127.0.0.1:8000", base) for word in check[1:])]
        assert subprocess.run(here, check=False).returncode == 0
    assert subprocess.run(here, capture_output=True, check=False).returncode != 0


def test_compose_gives_the_server_settings_that_there_are() -> None:
    server = compose()["services"]["server"]
    assert set(server["environment"]) <= {variable(name) for name in Settings.model_fields}
    assert server["environment"]["SALES_AUTOMATION_MIGRATE"] == "true"
    assert server["image"].endswith(f":{__version__}")


def test_compose_has_no_default_for_a_secret() -> None:
    secret = re.findall(r"\${(\w*(?:PASSWORD|TOKEN)\w*)(.)(.)", (ROOT / "compose.yaml").read_text("utf-8"))
    assert {name for name, _, _ in secret} == {"POSTGRES_PASSWORD", "SALES_AUTOMATION_TOKEN_FILE"}
    assert {(colon, sign) for _, colon, sign in secret} == {(":", "?")}


def test_compose_gives_the_server_no_more_than_it_needs() -> None:
    server = compose()["services"]["server"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert server["ports"] == ["127.0.0.1:8000:8000"]
    written = {volume.split(":")[1] for volume in server["volumes"]} | set(server["tmpfs"])
    assert written == {json.loads(last("VOLUME"))[0], "/tmp"}


def test_compose_starts_the_server_when_its_database_answers() -> None:
    services = compose()["services"]
    assert services["server"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert services["database"]["healthcheck"]["test"][1] == "pg_isready"
    assert services["database"]["image"] == "postgres:18"
