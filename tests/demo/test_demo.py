"""The demo ends well on good numbers, badly on wrong ones, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from datetime import UTC, date, datetime
from importlib import resources
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil
import pytest

from db.domain import guardrails
from db.domain.guardrails import Counted, Guardrails
from db.domain.mail.judge import judge
from db.domain.mail.verdict import BounceKind, MailKind
from db.mail import parse_mail
from mcp_server.demo import answers, checks
from mcp_server.demo.calls import DemoFailed
from mcp_server.demo.mail_host import Taken
from mcp_server.demo.people import looks_like_an_address
from mcp_server.demo.setting import MAILBOXES
from mcp_server.demo.story import returned_of
from mcp_server.demo.stream import Expected
from tests.support.patience import PATIENCE

FEW = [sys.executable, "-m", "mcp_server", "demo", "--contacts", "100"]


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


def test_the_demo_runs_a_campaign_quietly_and_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {**with_a_loud_server(tmp_path), "COLUMNS": "80"}
    version = [sys.executable, "-m", "mcp_server", "--version"]
    assert subprocess.run(version, env=env, capture_output=True, text=True, check=True).stderr == "a warning\n"
    result = subprocess.run(FEW, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    for shown in ("Never write to me again", "unsubscribed", "What came back", "Inbox:", "A conversation", "variant A"):
        assert shown in result.stdout
    assert result.stdout.endswith("claude-desktop install\n")
    assert "\x1b" not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 120
    progress = {line.partition(" ")[0] for line in result.stderr.splitlines() if line}
    assert progress <= {"First", "Follow-ups", "Provider"}, result.stderr
    assert list(tmp_path.glob("sales-automation-demo-*")) == []
    left = [process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(process.info["cmdline"])]
    assert left == []


def test_a_demo_whose_server_ends_says_what_the_server_said(tmp_path: Path) -> None:
    env = with_a_loud_server(tmp_path, and_then="os._exit(3)")
    result = subprocess.run(FEW, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 1
    assert result.stdout == "FAILED: the server ended before its time. What it said:\n"
    assert result.stderr == "a warning\n"


def test_an_interrupted_demo_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        FEW, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
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
        "import sys, anyio; from mcp_server.demo import run, story; plain = story.check\n"
        "def check(what, answered, counted): plain(what, answered, counted + (what == 'recorded'))\n"
        "story.check = check; sys.exit(anyio.run(run.run_demo, 100))"
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
    checks.metrics(report("1"), report("A"), EXPECTED)


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
        checks.metrics(tampered, report("A"), EXPECTED)


FIRST = Taken("ann@mail.example.com", "ada@example.org", "1@mail.example.com", "A question")
OTHER = FIRST._replace(recipient="bob@example.org", message_id="2@mail.example.com")
FOLLOW_UP = FIRST._replace(message_id="3@mail.example.com", subject="Re: A question")


def test_a_mail_that_is_sent_twice_missing_or_sent_to_a_stranger_fails() -> None:
    people = {"ada@example.org", "bob@example.org"}
    checks.each_once([FIRST, OTHER], people)
    for wrong in ([FIRST, OTHER, FIRST], [FIRST], [FIRST, OTHER, OTHER._replace(recipient="eve@example.org")]):
        with pytest.raises(DemoFailed):
            checks.each_once(wrong, people)


def test_a_follow_up_from_another_mailbox_or_outside_its_thread_fails() -> None:
    first = {FIRST.recipient: FIRST}
    checks.in_their_threads([FOLLOW_UP], first)
    for wrong in (FOLLOW_UP._replace(sender="ben@mail.example.com"), FOLLOW_UP._replace(subject="Hello")):
        with pytest.raises(DemoFailed):
            checks.in_their_threads([wrong], first)


def test_a_copy_that_is_missing_strange_or_filed_twice_fails() -> None:
    ids = [FIRST.message_id, OTHER.message_id]
    checks.copies(ids, [FIRST, OTHER])
    for wrong in (ids[:1], [*ids, ids[0]], [ids[0], ids[0]], [ids[0], "strange@example.com"]):
        with pytest.raises(DemoFailed):
            checks.copies(wrong, [FIRST, OTHER])


@pytest.mark.parametrize("kind", [MailKind.HUMAN, MailKind.UNSUBSCRIBE, MailKind.ABSENCE, MailKind.AUTO_REPLY])
def test_what_comes_back_is_what_the_demo_takes_it_for(kind: MailKind) -> None:
    at, back_on = datetime(2026, 11, 2, tzinfo=UTC), date(2026, 11, 14)
    is_by_a_program = kind in (MailKind.ABSENCE, MailKind.AUTO_REPLY)
    texts = {answers.words(kind, number, back_on) for number in range(10)}
    for text in {*texts, answers.LATE} if kind is MailKind.HUMAN else texts:
        raw = answers.letter(FIRST, "Ada", text, at, is_by_a_program=is_by_a_program)
        verdict = judge(parse_mail(raw))
        assert (verdict.kind, verdict.text) == (kind, text)
        assert verdict.until == (back_on if kind is MailKind.ABSENCE else None)


def test_the_bounce_is_a_hard_one_of_its_recipient() -> None:
    verdict = judge(parse_mail(answers.bounce(FIRST, datetime(2026, 11, 2, tzinfo=UTC))))
    assert [(one.address, one.bounce) for one in verdict.recipients] == [(FIRST.recipient, BounceKind.HARD)]


def test_so_few_mails_come_back_that_no_guardrail_is_broken() -> None:
    """However many rows are asked for."""
    since = datetime(2026, 11, 2, tzinfo=UTC)
    mails = [FIRST._replace(sender=address) for _, address in zip(range(540), cycle(MAILBOXES), strict=False)]
    for number in range(3, len(mails) + 1):
        sent, returned = mails[:number], returned_of(mails[:number])
        assert returned
        for sender in (None, *MAILBOXES):
            counts = [sum(sender in (None, mail.sender) for mail in some) for some in (sent, returned)]
            assert guardrails.of_campaign(Counted(counts[0], counts[1], 0), Guardrails(), since=since) is None


def test_one_person_is_furious_and_no_other() -> None:
    said = [answers.words(MailKind.UNSUBSCRIBE, number, date(2026, 11, 14)) for number in range(20)]
    assert ["lawyer" in text for text in said] == [True, *[False] * 19]


def test_without_its_extra_the_demo_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['pymap'] = None")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(FEW, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert "pip install 'sales-automation-mcp[demo]'" in result.stderr


def test_the_bundled_contacts_are_as_mixed_as_real_ones() -> None:
    text = resources.files("mcp_server.demo").joinpath("contacts.csv").read_text("utf-8")
    emails = [line.split(",")[0] for line in text.splitlines()[1:]]
    assert len(emails) >= 500
    good = [email.lower() for email in emails if looks_like_an_address(email)]
    assert 3 <= len(emails) - len(good) <= 10
    assert len(set(good)) < len(good)
    assert not text.isascii()
    assert {email.split("@")[1] for email in good} == {"example.com", "example.org", "example.net"}
