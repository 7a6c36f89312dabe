"""The inbox in a real browser: what it shows is right, and a mail can do nothing to who reads it."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from db.domain.mail.verdict import Finding, MailKind
from tests.support.browser import Start, faults, fits, seen
from tests.support.conversations import Answer, Conversations
from tests.support.dashboard import Site

MARKUP = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<style>body{display:none}</style><svg onload=alert(1)><iframe src='javascript:alert(1)'></iframe>"
    '<a href="javascript:alert(1)">here</a> javascript:alert(1) https://evil.example/?click'
    "<base href='https://evil.example/'><form action='/dashboard/logout' method=post><button>Sign out</button></form>"
)
HIDDEN = "Yes\u200b \u202egnp.exe\u202c \u2066now\u2069 \U000e0063\U000e0061\U000e006c\U000e006c"
SHOWN = "Yes gnp.exe now "
LONG = "word" * 4_000
RAW = f"Subject: x\r\n\r\n{MARKUP}\r\n\r\n> {MARKUP}\r\n".encode()
FINDINGS = [Finding.HIDDEN_TEXT, Finding.INSTRUCTIONS_TO_AN_AGENT]


@pytest.fixture(scope="module")
def made(site: Site) -> Conversations:
    """A thread with hostile mails, one with an absence, and one without an answer."""
    emails = [f"{name}@inbox.example.com" for name in ("hostile", "away", "silent")]
    made = Conversations(site.database, emails, at=site.now - timedelta(hours=5), name="Inbox")
    hostile, away, _ = made.threads
    by_rule = {"rule": "answer", "evidence": MARKUP[:300], "subject": MARKUP, "sender_name": MARKUP[:150]}
    made.answer(
        hostile,
        Answer(said=MARKUP, raw=RAW, minutes=70, more={**by_rule, "findings": FINDINGS, "is_guess": True}),
        Answer(said=HIDDEN, minutes=80, more={"evidence": HIDDEN}),
        Answer(said=LONG, minutes=90, more={"subject": LONG[:900], "sender_name": LONG[:200]}),
    )
    absence = {"rule": "absence_until", "evidence": "I am back on 16 November.", "return_on": site.now.date()}
    made.answer(away, Answer(said="Away.", kind=MailKind.ABSENCE, minutes=100, more=absence))
    return made


def test_the_inbox_begins_with_what_needs_an_answer(site: Site, made: Conversations, visit: Start) -> None:
    at = visit(site.base)
    at.go("inbox")
    row = at.page.locator("tbody tr")
    expect(row).to_have_count(1)
    assert [row.locator(f'[data-name="{name}"]').inner_text() for name in ("Person", "State", "Came in last")] == [
        "hostile@inbox.example.com",
        "Needs answer",
        "Human",
    ]
    at.page.get_by_label("State").select_option("waiting")
    expect(at.page.locator("tbody tr").filter(has_text="away@inbox.example.com")).to_be_visible()
    at.page.get_by_label("Came in last").select_option("absence")
    expect(at.page.locator("tbody tr")).to_have_count(1)
    at.page.get_by_label("State").select_option("closed")
    expect(at.page.get_by_text("No thread fits")).to_be_visible()
    at.page.get_by_label("State").select_option("")
    at.page.get_by_role("link", name="away@inbox.example.com").click()
    expect(at.page.get_by_role("heading", name="away@inbox.example.com")).to_be_visible()
    expect(at.page.get_by_role("link", name="Inbox", exact=True)).to_have_attribute("aria-current", "page")
    assert at.page.url.endswith(f"#/threads/{made.threads[1]}")


def test_a_thread_says_what_each_mail_is_and_why(site: Site, made: Conversations, visit: Start) -> None:
    at = visit(site.base)
    at.go(f"threads/{made.threads[1]}")
    sent, came = at.page.locator(".mail").all()
    assert "Nice to meet you." in sent.inner_text()
    told = came.inner_text()
    for part in ("Came in", "Absence", "Absence until: I am back on 16 November.", str(site.now.date()), "Away."):
        assert part in told, part


@pytest.mark.parametrize("width", [1280, 375])
def test_a_hostile_mail_stays_text(site: Site, made: Conversations, visit: Start, width: int) -> None:
    at = visit(site.base, width=width)
    asked: list[str] = []
    at.page.on("request", lambda request: asked.append(request.url))
    at.page.on("dialog", lambda dialog: asked.append(dialog.message))
    at.go(f"threads/{made.threads[0]}")
    for details in at.page.locator("details").all():
        details.locator("summary").click()
    _, markup, hidden, long = at.page.locator(".mail").all()
    first, whole = markup.locator("pre").all()
    assert first.text_content() == MARKUP
    assert whole.text_content() == f"{MARKUP}\n\n> {MARKUP}"
    for part in (MARKUP[:150], "Hidden text", "Instructions to an agent", "Matched by the address of its sender alone"):
        assert part in markup.inner_text(), part
    assert hidden.locator("pre").text_content() == SHOWN
    assert seen(at.page, ".mail-facts dt").count("Why") == 1
    assert long.locator("pre").text_content() == LONG
    elements = "img, script, style, iframe, svg, form, base, button, a, object, embed, [onerror], [onload], [style]"
    assert at.page.locator(".mail").locator(elements).count() == 0
    assert at.page.title().startswith("hostile@inbox.example.com")
    assert at.page.locator("main").is_visible()
    assert [url for url in asked if not url.startswith(site.base)] == []
    assert faults(at.page) == []
    assert fits(at.page)


def test_a_hostile_subject_stays_text_in_the_list(site: Site, made: Conversations, visit: Start) -> None:
    with site.database.transaction("subject") as session:
        made.rename(session, made.threads[0], f"{HIDDEN}{MARKUP}")
    at = visit(site.base)
    at.go("inbox")
    cell = at.page.locator('tbody [data-name="Subject"]')
    assert cell.locator("bdi").text_content() == f"{SHOWN}{MARKUP}"[:500]
    assert at.page.locator("tbody").locator("img, script, style, iframe, svg, form").count() == 0
    assert faults(at.page) == []
    assert fits(at.page)


def test_a_thread_that_there_is_not_says_so(site: Site, visit: Start) -> None:
    at = visit(site.base)
    at.go("threads/00000000-0000-7000-8000-000000000000")
    expect(at.page.get_by_role("heading", name="Not found")).to_be_visible()
    at.said.clear()  # the browser notes each refusal
