"""Drafts: their states, what an approval is of, and what a careful reader would notice."""

from dataclasses import replace

import pytest

from db.domain.draft_lint import Known, lint
from db.domain.drafts import (
    DRAFT_TRANSITIONS,
    LIVE_DRAFTS,
    Approval,
    Consent,
    DraftCommand,
    DraftStatus,
    Wording,
    move_draft,
)
from db.domain.errors import InvalidTransition

WORDING = Wording("ada@example.com", "email", "Hello", "Good morning", "Ann", "ann@acme.example")
ADA = Known("Ada", "Lovelace-King", ["Analytical Engines", "Bonn", "1843", "We have 300 customers"])


def test_what_has_ended_stays_so() -> None:
    for status in (DraftStatus.REJECTED, DraftStatus.STALE):
        for command in DraftCommand:
            with pytest.raises(InvalidTransition, match=f"draft is {status}"):
                move_draft(status, command)
    with pytest.raises(TypeError):
        DRAFT_TRANSITIONS[DraftStatus.STALE, DraftCommand.APPROVE] = DraftStatus.APPROVED  # type: ignore[index]


def test_the_words_that_may_still_go_out_are_those_that_others_can_replace() -> None:
    assert set(LIVE_DRAFTS) == {state for state, command in DRAFT_TRANSITIONS if command is DraftCommand.REPLACE}


@pytest.mark.parametrize(
    "other",
    [
        replace(WORDING, recipient="ben@example.com"),
        replace(WORDING, recipient=None),
        replace(WORDING, step_type="message"),
        replace(WORDING, subject="Hello Good", body=" morning"),
        replace(WORDING, subject=None),
        replace(WORDING, body="Good evening"),
        replace(WORDING, signature="Ben"),
        replace(WORDING, body="Good morningAnn", signature=None),
        replace(WORDING, mailbox="ben@acme.example"),
    ],
)
def test_a_fingerprint_is_of_all_that_its_reader_sees(other: Wording) -> None:
    assert other.fingerprint != WORDING.fingerprint
    assert len(other.fingerprint) == 32


def test_the_token_of_the_link_to_unsubscribe_is_no_part_of_it() -> None:
    links = [f"https://mail.example.com/unsubscribe/{token}" for token in ("one", "two")]
    one, two = (replace(WORDING, body=f"Hello {link} bye", unsubscribe_url=link) for link in links)
    assert one.fingerprint == two.fingerprint
    elsewhere = replace(one, body="Hello https://evil.example.com/unsubscribe/one bye")
    assert elsewhere.fingerprint != one.fingerprint


def test_an_approval_counts_for_the_very_words_alone() -> None:
    print_ = WORDING.fingerprint
    assert Consent().is_given
    assert Consent(Approval.ALL, print_, print_).is_given
    assert not Consent(Approval.ALL, print_, b"x" * 32).is_given
    assert not Consent(Approval.ALL, print_).is_given
    assert not Consent(Approval.ALL).is_given


def test_a_campaign_asks_for_less_than_before_or_not() -> None:
    less = [(one, other) for one in Approval for other in Approval if one.asks_less_than(other)]
    assert less == [("none", "first_step"), ("none", "all"), ("first_step", "all")]
    read = [Approval.of_settings(settings) for settings in ({}, {"approval": "first_step"}, {"approval": ["none"]})]
    assert read == ["none", "first_step", "all"]


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        ("Hello Ada, pay \u202e100 to me.", "hidden: it holds characters"),
        ("Hello {{ first_name }}, how are you?", "placeholder: {{ first_name }}"),
        ("Hello [First Name], how are you?", "placeholder: [First Name]"),
        ("Hi Bob,\nhow are you?", "name: it greets Bob, and the person has Ada Lovelace-King"),
        ("Dear Ms. Smith,\nhow are you?", "name: it greets Ms. Smith"),
        ("Ada, you have 250 people in Bonn.", "fact: 250"),
        ("You grew by 40% at Umbrella Corp last year.", "fact: 40%"),
        ("I saw your work at Umbrella Corp last year.", "fact: Umbrella Corp"),
        ("See https://example for more.", "link: https://example leads nowhere"),
        ("See http:// for more.", "link: http:// leads nowhere"),
        ("See [our page](https://example.com).", "link: [our page](https://example.com) is Markdown"),
    ],
)
def test_a_careful_reader_would_notice(body: str, warning: str) -> None:
    assert any(found.startswith(warning) for found in lint("Hello", body, ADA)), lint("Hello", body, ADA)


@pytest.mark.parametrize(
    "body",
    [
        "Hi Ada,\nyour talk in Bonn in 1843 stayed with me. See https://www.example.com/a?b=1.",
        "Dear Ms. Lovelace,\nwe have 300 customers, and two of them are at Analytical Engines.",
        "Hello Lovelace-King - how are you?",
        "Hi there,\nhow are you?",
        "Guten Tag Frau King,\nwie geht es Ihnen?",
        "How are you, Bob asked. No greeting at all.",
        "See www.example.com, or write to me.",
    ],
)
def test_nothing_is_said_of_what_is_right(body: str) -> None:
    assert lint(None, body, ADA) == []


def test_what_a_template_claims_is_the_campaigns_own() -> None:
    assert lint(None, "We have 42 customers.", replace(ADA, is_own=True)) == []
    assert lint(None, "We have 42 customers.", ADA) != []


def test_ten_warnings_are_enough_for_anybody() -> None:
    assert len(lint(None, " ".join(f"{n}00" for n in range(10, 40)), ADA)) == 10
