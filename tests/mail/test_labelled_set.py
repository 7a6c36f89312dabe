"""The rules, held against the half of the labelled set that their author saw."""

import pytest

from db.domain.mail import MailKind, Verdict
from db.domain.mail.judge import judge
from db.mail import parse_mail
from tests.support.mail_set import Labelled, is_text, is_until, labelled

Judged = list[tuple[Labelled, Verdict]]


@pytest.fixture(scope="module")
def judged() -> Judged:
    return [(mail, judge(parse_mail(mail.raw))) for mail in labelled("seen")]


def test_nearly_every_mail_is_what_its_label_says(judged: Judged) -> None:
    wrong = [mail.label["file"] for mail, verdict in judged if verdict.kind != mail.label["kind"]]
    assert len(judged) > 300
    assert len(wrong) <= 0.01 * len(judged), wrong


def test_no_person_is_taken_for_an_unsubscribe_a_bounce_or_a_complaint(judged: Judged) -> None:
    stops = (MailKind.UNSUBSCRIBE, MailKind.BOUNCE, MailKind.COMPLAINT, MailKind.HAS_LEFT)
    assert [
        mail.label["file"] for mail, verdict in judged if mail.label["kind"] == "human" and verdict.kind in stops
    ] == []


def test_the_day_of_return_is_read_where_it_is_named(judged: Judged) -> None:
    absent = [(mail, verdict) for mail, verdict in judged if mail.label["kind"] == "absence"]
    days = [(mail, verdict.until.isoformat() if verdict.until else None) for mail, verdict in absent]
    wrong = [mail.label["file"] for mail, day in days if not is_until(day, mail.label)]
    assert len(wrong) <= 0.02 * len(absent), wrong


def test_what_a_person_wrote_is_cut_out_word_for_word(judged: Judged) -> None:
    typed = [(mail, verdict) for mail, verdict in judged if mail.label["text"] is not None]
    wrong = [mail.label["file"] for mail, verdict in typed if not is_text(verdict.text, mail.label)]
    assert len(wrong) <= 0.02 * len(typed), wrong


def test_a_successor_is_the_one_who_is_named(judged: Judged) -> None:
    named = [(mail.label["successor"], verdict.successor) for mail, verdict in judged if mail.label.get("successor")]
    assert len(named) > 5
    assert all(label == found for label, found in named), named


def test_every_verdict_rests_on_a_rule_and_a_sentence(judged: Judged) -> None:
    assert all(verdict.reason.rule for _, verdict in judged)
    assert all(verdict.reason.evidence for mail, verdict in judged if mail.raw)


def test_answers_without_ids_are_no_forgeries(judged: Judged) -> None:
    assert [(mail.label["file"], verdict.findings) for mail, verdict in judged if verdict.findings] == []


@pytest.mark.parametrize("line_break", [b"\r\n", b"\r"])
def test_line_breaks_change_no_verdict(judged: Judged, line_break: bytes) -> None:
    """Mail servers give lines that end in CR and LF, and files on a disk often have one of them alone."""
    changed = [
        mail.label["file"]
        for mail, verdict in judged
        if b"\r" not in mail.raw and judge(parse_mail(mail.raw.replace(b"\n", line_break))) != verdict
    ]
    assert changed == []
