"""The demo ends well on good numbers, badly on wrong ones, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

import psutil
import pytest

from mcp_server.demo.run import DemoFailed, check_metrics, looks_like_an_address
from mcp_server.demo.stream import Expected
from tests.support.patience import PATIENCE


def test_the_demo_runs_a_campaign_and_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "80"}
    command = [sys.executable, "-m", "mcp_server", "demo"]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "variant A" in result.stdout
    assert "\x1b" not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 120
    assert result.stdout.endswith("claude-desktop install\n")
    assert list(tmp_path.glob("sales-automation-demo-*")) == []
    left = [process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(process.info["cmdline"])]
    assert left == []


def with_a_loud_server(folder: Path, *, and_then: str = "pass") -> dict[str, str]:
    """An environment in which the demo's server writes to its stderr at once."""
    hook = f"""if True:
        import os, sys
        if 'demo' not in sys.orig_argv and 'mcp_server' in sys.orig_argv:
            print("a warning", file=sys.stderr, flush=True)
            {and_then}
    """
    (folder / "sitecustomize.py").write_text(hook)
    return {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(folder)}


def test_what_the_server_logs_is_not_in_the_middle_of_the_demo(tmp_path: Path) -> None:
    env = with_a_loud_server(tmp_path)
    loud = subprocess.run(
        [sys.executable, "-m", "mcp_server", "--version"], env=env, capture_output=True, text=True, check=True
    )
    assert loud.stderr == "a warning\n"
    command = [sys.executable, "-m", "mcp_server", "demo", "--contacts", "100"]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "a warning" not in result.stdout + result.stderr


def test_a_demo_whose_server_ends_says_what_the_server_said(tmp_path: Path) -> None:
    env = with_a_loud_server(tmp_path, and_then="os._exit(3)")
    command = [sys.executable, "-m", "mcp_server", "demo"]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 1
    assert result.stdout == "FAILED: the server ended before its time. What it said:\n"
    assert result.stderr == "a warning\n"


def test_an_interrupted_demo_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "mcp_server", "demo"]
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Enrolled ")
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 130
    assert said.endswith("sales-automation-mcp: stopped. Nothing is left behind.\n")
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_disagreement_ends_in_one_line_and_a_failure(tmp_path: Path) -> None:
    """The demo's own counting is made to expect one event more, which the server can't have seen."""
    script = (
        "import sys, anyio; from mcp_server.demo import run; plain = run.check\n"
        "def check(what, answered, counted): plain(what, answered, counted + (what == 'recorded'))\n"
        "run.check = check; sys.exit(anyio.run(run.run_demo, 200))"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "FAILED: recorded" in result.stdout
    assert "Traceback" not in result.stderr
    assert list(tmp_path.glob("sales-automation-demo-*")) == []


def report(key: str) -> dict[str, Any]:
    counters = {"sent": 2, "delivered": 2, "opened": 1, "clicked": 0, "replied": 0, "bounced": 0, "unsubscribed": 0}
    totals = {**counters, "accepted": 0}
    return {
        "totals": totals,
        "groups": [{"key": key, "totals": totals}],
        "enrolled": 2,
        "enrollment_status": {"completed": 2, "active": 0},
    }


EXPECTED = Expected(
    by_step=Counter({("1", "sent"): 2, ("1", "delivered"): 2, ("1", "opened"): 1}),
    by_variant=Counter({("A", "sent"): 2, ("A", "delivered"): 2, ("A", "opened"): 1}),
    statuses=Counter({"completed": 2}),
)


def test_right_numbers_pass() -> None:
    check_metrics(report("1"), report("A"), EXPECTED)


@pytest.mark.parametrize(
    "path", [("totals", "opened"), ("enrollment_status", "active"), ("groups", 0, "totals", "sent")]
)
def test_a_wrong_number_fails(path: tuple[Any, ...]) -> None:
    tampered = deepcopy(report("1"))
    place: Any = tampered
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] += 1
    with pytest.raises(DemoFailed):
        check_metrics(tampered, report("A"), EXPECTED)


def test_the_bundled_contacts_are_as_mixed_as_real_ones() -> None:
    text = resources.files("mcp_server.demo").joinpath("contacts.csv").read_text("utf-8")
    emails = [line.split(",")[0] for line in text.splitlines()[1:]]
    assert len(emails) >= 500
    good = [email.lower() for email in emails if looks_like_an_address(email)]
    assert 3 <= len(emails) - len(good) <= 10
    assert len(set(good)) < len(good)
    assert not text.isascii()
    assert {email.split("@")[1] for email in good} == {"example.com", "example.org", "example.net"}
