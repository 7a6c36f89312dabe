"""Links lead somewhere, commands exist, and snippets are what the program takes."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.generate import commands
from docs.generate.regions import PAGES, ROOT
from mcp_server.process.settings import Settings, variable
from mcp_server.schemas.campaigns import CampaignSettings
from tests.support.patience import PATIENCE

DOCUMENTS = [ROOT / "README.md", *sorted(PAGES.glob("*.md"))]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAM = commands.root()

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def prose(path: Path) -> str:
    return _BLOCK.sub("", path.read_text("utf-8"))


def blocks(path: Path) -> Iterator[tuple[str, str]]:
    """(what stands after the fence, the text) of each block."""
    for block in _BLOCK.finditer(path.read_text("utf-8")):
        yield block[1], block[2]


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as the repository's pages make them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    lost: list[str] = []
    for target in _LINK.findall(prose(document)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        there = (document.parent / name).resolve() if name else document
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(target)
    assert lost == []


@each_document
def test_every_page_can_be_reached_from_the_readme(document: Path) -> None:
    assert document.name == "README.md" or f"(docs/{document.name})" in DOCUMENTS[0].read_text("utf-8")


def calls(shell: str) -> Iterator[list[str]]:
    """The words after `sales-automation-mcp`, for each call of it."""
    for line in shell.replace("\\\n", " ").splitlines():
        if commands.NAME not in line:
            continue
        parts = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        parts.whitespace_split = True
        words = list(parts)
        for place, word in enumerate(words):
            if word == commands.NAME and (place == 0 or words[place - 1] in ("&&", "|", "(", "$(")):
                rest = words[place + 1 :]
                end = next((i for i, word in enumerate(rest) if word[0] in "|&;<>()"), len(rest))
                yield rest[:end]


def check(words: list[str]) -> None:
    """Parse a call as the program itself does, down to the command; whatever is wrong is raised."""
    command: Any = _PROGRAM
    context: Any = command.make_context(commands.NAME, ["serve"])
    while hasattr(command, "get_command") and words:
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name}"
    assert not any(word == "--help" for word in words)
    command.make_context(commands.NAME, list(words))


@each_document
def test_commands_exist_with_their_options(document: Path) -> None:
    for kind, text in blocks(document):
        if kind == "sh":
            for words in calls(text):
                check(words)


def test_a_command_that_does_not_exist_is_found() -> None:
    (words,) = calls("A=1 && sales-automation-mcp serve --prot 8000 | cat")
    with pytest.raises(Exception, match="--prot"):
        check(words)


@each_document
def test_json_is_json_and_settings_of_campaigns_are_taken(document: Path) -> None:
    for kind, text in blocks(document):
        if kind.split()[:1] == ["json"]:
            value = json.loads(text)
            if "campaign-settings" in kind:
                CampaignSettings.model_validate(value)


@each_document
def test_variables_that_are_named_are_settings(document: Path) -> None:
    known = {variable(name) for name in Settings.model_fields} | {
        "SALES_AUTOMATION_DATABASE_URL",
        "SALES_AUTOMATION_HOME",
        # Their ends are made of addresses.
        "SALES_AUTOMATION_MAILBOX_PASSWORD_ANN_EXAMPLE_COM",
        "SALES_AUTOMATION_MAILBOX_SMTP_PASSWORD_ANN_EXAMPLE_COM",
    }
    named = set(re.findall(r"SALES_AUTOMATION_[A-Z_]+[A-Z]", document.read_text("utf-8")))
    assert named - known == set()


@each_document
def test_values_that_are_set_are_taken(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, text in blocks(document):
        found = re.findall(r"^export ((?:SALES_AUTOMATION_|DATABASE_URL)\w*)=(\S+)$", text, re.MULTILINE)
        for name, value in found if kind == "sh" else ():
            if not value.startswith("$("):
                monkeypatch.setenv(name, value.strip("'"))
    assert Settings().model_fields_set <= set(Settings.model_fields)


def unit() -> str:
    ((_, text),) = [block for block in blocks(PAGES / "operations.md") if block[0] == "ini"]
    return text


def test_the_unit_of_systemd_starts_a_command_that_exists_on_the_paths_that_it_may_write() -> None:
    lines = [line.partition("=") for line in unit().splitlines() if "=" in line and not line.startswith("#")]
    given = {name: value for name, _, value in lines if name != "Environment"}
    variables = dict(value.split("=") for name, _, value in lines if name == "Environment")
    program, *words = given["ExecStart"].split()
    assert program.endswith(f"/bin/{commands.NAME}")
    check(words)
    # All else is read-only to it.
    assert given["ProtectSystem"] == "strict"
    assert variables[variable("home")] == f"/var/lib/{given['StateDirectory']}"
    # A private /tmp would hide the socket of the embedded PostgreSQL from commands outside of the unit.
    assert variables["TMPDIR"] == f"/run/{given['RuntimeDirectory']}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    # The program is installed elsewhere, and so is the user.
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", unit()).replace("=sales\n", "=root\n")
    path = tmp_path / "sales-automation.service"
    path.write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    said = [line for line in done.stderr.splitlines() if path.name in line]
    assert said == []
    assert done.returncode == 0, done.stderr


_SAVED = re.compile(r"> *\S*token\b")
_SECRET_ARGUMENT = re.compile(
    r"(?:curl|claude|psql|pg_\w+|\S*/pg_\w+\S*|sales-automation-mcp) .*(?:\$TOKEN|Bearer \w|\$DATABASE_URL|:PASSWORD@)"
)


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "compose.yaml"], ids=lambda path: path.name)
def test_secrets_are_saved_for_their_user_alone_and_are_no_arguments(document: Path) -> None:
    for line in document.read_text("utf-8").replace("\\\n", " ").splitlines():
        assert not _SAVED.search(line) or "umask 077" in line
        for part in line.split("|"):
            assert not _SECRET_ARGUMENT.match(part.strip())


@pytest.mark.parametrize("picture", sorted((PAGES / "images").glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_fetches_nothing(picture: Path) -> None:
    addresses = set(re.findall(r"https?://[^\"'\s<>)]+", picture.read_text("utf-8")))
    assert addresses <= {"http://www.w3.org/2000/svg"}
