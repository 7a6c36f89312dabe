"""Returned mail in shapes that are no report: texts, dialogues, notifications, mails that lost their parts."""

import json

import pytest

from db.domain.mail import BounceKind, MailKind, Verdict
from db.domain.mail.bounces import reason_of
from db.domain.mail.judge import judge
from db.mail import parse_mail


def verdict_on(text: str, *, sender: str = "mailer-daemon@example.com", subject: str = "failure notice") -> Verdict:
    return judge(parse_mail(f"From: {sender}\nTo: us@example.org\nSubject: {subject}\n\n{text}".encode()))


def outcomes(verdict: Verdict) -> list[tuple[str, str]]:
    return [(recipient.address, recipient.bounce.value) for recipient in verdict.recipients]


def test_each_recipient_gets_the_reason_that_stands_below_it() -> None:
    text = "Sorry.\n\n<ann@example.com>:\n550 5.1.1 No such user\n\n<bob@example.net>:\n552 5.2.2 Mailbox full\n"
    assert outcomes(verdict_on(text)) == [("ann@example.com", "hard"), ("bob@example.net", "full")]


def test_the_copy_of_the_mail_is_no_reason() -> None:
    text = (
        "I could not deliver it.\n\n<ann@example.com>:\n451 4.3.0 Try again later\n\n"
        "--- Below this line is a copy of the message.\n\nReturn-Path: <us@example.org>\nSubject: 550 user unknown\n\n"
        "Is no such user, bob@example.net, at your site?\n"
    )
    assert outcomes(verdict_on(text)) == [("ann@example.com", "soft")]


def test_what_every_program_writes_above_a_reason_is_none() -> None:
    text = (
        "  ----- The following addresses had permanent fatal errors -----\n<ann@example.com>\n  (reason: 550 5.0.0 x)\n"
    )
    assert outcomes(verdict_on(text)) == [("ann@example.com", "unknown")]


def test_a_report_whose_parts_were_lost_is_read_from_the_text() -> None:
    text = (
        "Sorry.\n\nReporting-MTA: dns; example.com\n\nFinal-Recipient: rfc822; <ann@example.com>\nAction: failed\n"
        "Status: 5.1.1\nDiagnostic-Code: smtp; 550\n 5.1.1 User unknown\n"
    )
    verdict = verdict_on(text, sender="gateway@example.com", subject="Undeliverable: Offer")
    assert (verdict.kind, outcomes(verdict)) == (MailKind.BOUNCE, [("ann@example.com", "hard")])


def test_a_gateway_that_repeats_the_dialogue_returns_a_mail() -> None:
    text = "Error: Invalid user\n\n550 - no such user here\n\n  MAIL FROM: us@example.org\n  RCPT TO: ann@example.com\n"
    verdict = verdict_on(text, sender="sms@example.com", subject="Re: Offer")
    assert (verdict.kind, outcomes(verdict)) == (MailKind.BOUNCE, [("ann@example.com", "hard")])
    assert verdict_on("I got 550 from him.", sender="bob@example.com", subject="Re: Offer").kind is MailKind.HUMAN


def test_a_notification_of_ses_by_mail_returns_a_mail() -> None:
    recipient = {"emailAddress": "ann@example.com", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
    bounce = {"notificationType": "Bounce", "bounce": {"bouncedRecipients": [recipient]}}
    text = json.dumps({"Type": "Notification", "Message": json.dumps(bounce)})
    verdict = verdict_on(text, sender="no-reply@sns.amazonaws.com", subject="AWS Notification Message")
    assert (verdict.kind, outcomes(verdict)) == (MailKind.BOUNCE, [("ann@example.com", "hard")])


def test_the_answer_can_stand_above_the_address() -> None:
    text = (
        "*** Our Secure Gateway ***\n\nSent <<< RCPT TO:<ann@example.com>\nReceived >>> 550 5.1.1 no such user\n\n"
        "Unable to deliver message to <ann@example.com>.\n"
    )
    verdict = verdict_on(text, sender='"InterScan MSS" <mss@example.com>', subject="Mail could not be delivered")
    assert outcomes(verdict) == [("ann@example.com", "hard")]


def test_the_lines_that_continue_an_answer_belong_to_it() -> None:
    raw = (
        b"From: mailer-daemon@example.com\nSubject: Returned mail\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n--x\n\n<ann@example.com>\n"
        b">>> RCPT To:<ann@example.com>\n<<< 550-No such user <us@example.org>\n<<< 550-told the other server\n"
        b"<<< 550 Sender verify failed\n<<< 503 no such user\n\n"
        b"--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; example.com\n\n"
        b"Final-Recipient: rfc822; ann@example.com\nAction: failed\nStatus: 5.1.1\n"
        b"Diagnostic-Code: smtp; 550-No such user <us@example.org>\n--x--\n"
    )
    assert outcomes(judge(parse_mail(raw))) == [("ann@example.com", "policy")]


@pytest.mark.parametrize(
    ("sender", "subject", "text"),
    [
        ("Mail Delivery System <mds@example.net>", "Returned: Offer", "ann@example.com [User unknown]"),
        (
            '"Courier mail server at example.net" <@>',
            "NOTICE: mail delivery status.",
            "<ann@example.com>:\n<<< No such user",
        ),
        ("postmaster@example.net", "[BOUNCE]", "No such user\n\n  RCPT TO: ann@example.com"),
        (
            "postmaster@example.net",
            "There was an error sending your mail",
            "Rejected recipient <ann@example.com> [no user]",
        ),
        (
            "sysadmin@example.net",
            "Undeliverable",
            "It could not be delivered.\nError: no such user\nTo: ann@example.com",
        ),
        ("postmaster@example.net", "failure notice", "<ann@example.com>: 550 no user (in reply to MAIL FROM command)"),
    ],
)
def test_programs_are_known_by_the_names_that_they_go_by(sender: str, subject: str, text: str) -> None:
    verdict = verdict_on(text, sender=sender, subject=subject)
    assert (verdict.kind, [one.address for one in verdict.recipients]) == (MailKind.BOUNCE, ["ann@example.com"])


def test_an_administrator_who_answers_is_a_person() -> None:
    verdict = verdict_on(
        "Your mail could not be delivered to me.", sender="sysadmin@example.com", subject="Re: Returned"
    )
    assert verdict.kind is MailKind.HUMAN


def test_the_recipient_of_the_returned_mail_is_taken_where_the_text_names_nobody() -> None:
    raw = (
        b"From: mailer-daemon@example.com\nSubject: failure notice\nContent-Type: multipart/mixed; boundary=x\n\n"
        b"--x\n\nIt could not be delivered: no such user.\n"
        b"--x\nContent-Type: message/rfc822\n\nTo: Ann <ann@example.com>\n\nHi\n--x--\n"
    )
    assert outcomes(judge(parse_mail(raw))) == [("ann@example.com", "hard")]


def test_an_answer_within_an_answer_decides() -> None:
    kind, _ = reason_of(("smtp; 5.1.0 - Unknown address error 550-'5.7.1 Turned away'",))
    assert kind is BounceKind.POLICY


def test_a_report_that_is_unavailable_says_nothing_of_a_recipient() -> None:
    text = "It could not be delivered to one or more recipients.\n--- Delivery report unavailable ---\n"
    assert reason_of((text,))[0] is BounceKind.UNKNOWN


def test_a_host_that_takes_no_mail_is_hard_whatever_it_says() -> None:
    assert reason_of(("521 5.3.2 System not accepting network messages",))[0] is BounceKind.HARD
    assert reason_of(("421 4.3.2 System not accepting network messages",))[0] is BounceKind.SOFT


def test_an_error_of_syntax_says_nothing_of_the_recipient() -> None:
    assert reason_of(("501 5.0.0 Invalid domain name",))[0] is BounceKind.POLICY


def test_a_read_receipt_is_a_program_and_no_return() -> None:
    raw = (
        b"From: Ann Smith <ann.smith@example.com>\nSubject: Offer seen\nReturn-Path: <>\n"
        b"Content-Type: multipart/report; report-type=disposition-notification; boundary=x\n\n--x\n\nSeen.\n"
        b"--x\nContent-Type: message/disposition-notification\n\nDisposition: manual-action; displayed\n--x--\n"
    )
    verdict = judge(parse_mail(raw))
    assert (verdict.kind, verdict.reason.rule) == (MailKind.AUTO_REPLY, "read_receipt")


def test_a_mail_of_nobody_that_answers_nothing_is_other() -> None:
    raw = (
        b"Return-Path: <>\nFrom: Bank <notes@bank.example>\nSubject: News for you\n\nOur branch moves to Main Street.\n"
    )
    assert judge(parse_mail(raw)).kind is MailKind.OTHER


def test_a_gateway_that_attaches_the_mail_returns_it() -> None:
    raw = (
        b"From: no-reply@sms.example.com\nSubject: Notice\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n"
        b"Your mail could not be delivered to: <ann@example.com>\nas their mailbox is full.\n"
        b"--x\nContent-Type: message/rfc822\n\nTo: ann@example.com\n\nHi\n--x--\n"
    )
    verdict = judge(parse_mail(raw))
    assert (verdict.kind, outcomes(verdict)) == (MailKind.BOUNCE, [("ann@example.com", "full")])


def test_a_report_that_is_the_mail_itself_is_a_complaint() -> None:
    raw = (
        b"From: staff@example.com\nSubject: complaint about message from 192.0.2.1\n"
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\n"
        b"X-HmXmrOriginalRecipient: <ann@example.com>\nSubject: Offer\n\nHi\n--x--\n"
    )
    verdict = judge(parse_mail(raw))
    assert (verdict.kind, [recipient.address for recipient in verdict.recipients]) == (
        MailKind.COMPLAINT,
        ["ann@example.com"],
    )


def test_the_button_of_a_mail_program_unsubscribes() -> None:
    head = "From: Ann Smith <ann.smith@example.com>\nAuto-Submitted: auto-replied\nSubject:"
    for rest in (" unsubscribe\n\nThis message was sent by a program.", " Re\nX-Apple-Unsubscribe: true\n\nDone."):
        assert judge(parse_mail(f"{head}{rest}".encode())).kind is MailKind.UNSUBSCRIBE
    away = f"{head} Out of office: unsubscribe\n\nI am on holiday."
    assert judge(parse_mail(away.encode())).kind is MailKind.ABSENCE
