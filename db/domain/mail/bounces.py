"""Decides whether a mail is a returned one, and what it says about each recipient."""

import re
from typing import Final

from db.domain.mail.bounce_codes import Codes, answers_the_sender, codes_of, kind_of
from db.domain.mail.bounce_reports import Report, is_notification, report_in, reports_of, without_original
from db.domain.mail.bounce_words import WORDS, plain_words, without_guess
from db.domain.mail.message import ParsedMail, field, is_answer, is_of_a_person
from db.domain.mail.patterns import WORD_BEGINS, any_of
from db.domain.mail.verdict import BounceKind, Reason, ReturnedRecipient

_DAEMON: Final = any_of(
    r"""
    ^(?:mailer-?daemon|mail-?daemon|post_?master|poostmaster|mail-?deliver\w*|double-bounce)(?:@|$)
    ^(?:mail-deliver|courier-mail-server|content-filter|interscan|microsoft-exchange$)
    """,
)
# Persons write under these names, too.
_DESK: Final = any_of(
    r"""
    ^(?:sysadmin|mail-?admin|system-administrator|mail-administrator)(?:@|$)
    """,
)
_DELAYED: Final = any_of(
    r"""
    (?:has been|is|was) delayed|delivery (?:is |has been )?delayed|\(delay\)|delayed mail|warning message only
    do(?:es)? not need to resend|could not (?:send|be sent) (?:message )?for
    still (?:trying|undelivered|being)|will (?:be retried|keep trying|continue (?:to try|trying))
    not yet been delivered|temporary failure report|mail delayed
    """,
    before=WORD_BEGINS,
)
_SUBJECT: Final = any_of(
    r"""
    undeliver|delivery (?:status|fail|report|notif|problem|error|has failed|unsuccess|incomplete)
    return(?:ed|ing) (?:mail|message|to sender)|mail(?: system)? (?:delivery|error|failure)|failure notice
    failed (?:mail|delivery|message)|non.?deliver|unzustellbar|nicht zustellbar|non (?:remis|distribu)
    not? (?:be )?delivered|could not be delivered|rejected|mail (?:returned|could not)|message status|échec
    fall[oó] (?:en|de) (?:la )?entrega|no entregado|onbestelbaar|недостав|не доставлен|postmaster notify
    warning: (?:could not|message)|delivery delayed|delayed mail|message (?:not delivered|blocked)
    address not found|problem delivering|mail failure|(?<=\[)bounce\]|error sending your mail|user unknown|\
        returned|配信|エラー|退信|unable to deliver
    """,
    before=WORD_BEGINS,
)
_FAILURE: Final = any_of(
    r"""
    (?:could|can|was|did|has|have|be|were)(?: ?not|n't)(?: be| been)? (?:deliver|sent|reach)|unable to deliver
    undeliver|delivery (?:fail|to .{1,120} failed|has failed|error)|delivery status notification
    permanent(?:ly)? (?:error|fail|fatal)|fatal error|failed (?:permanently|to deliver)|failed recipient
    rejected|returned to (?:you|sender)|did not reach|wasn't able to deliver|error .{0,40}deliver
    transcript of session|nicht zugestellt|n'a pas pu|non recapitat|no se (?:pudo|ha podido) entregar
    не может быть доставлено|不能|送信できません|delivery had|user unknown|unknown user|no such (?:user|domain|host|\
        mailbox)|(?:^|\s)5\d\d[ -]5?\.?
    """,
    before=WORD_BEGINS,
)

_ANSWER: Final = re.compile(r"^\W{0,8}[45]\d\d[ -]", re.MULTILINE)

# The first text of such a bounce says little; the next may say more.
_WEAK: Final = (BounceKind.UNKNOWN,)


def is_returned(mail: ParsedMail) -> str:
    """Returns the name of the rule by which the mail is a returned one, or an empty text."""
    return _by_report(mail) or _by_sender(mail)


def _by_report(mail: ParsedMail) -> str:
    if any(field(group, "final-recipient") or field(group, "action") for group in mail.delivery_report):
        return "delivery_report"
    if mail.has("x-failed-recipients"):
        return "failed_recipients_header"
    if is_notification(mail):
        return "bounce_notification"
    return "delivery_report_in_text" if _SUBJECT.search(mail.subject) and report_in(mail.text) else ""


def _by_sender(mail: ParsedMail) -> str:
    names = (mail.sender.address or "mailer-daemon", mail.sender.name.replace(" ", "-"))
    is_daemon = any(_DAEMON.match(name) for name in names)
    is_desk = any(_DESK.match(name) for name in names) and not is_answer(mail)
    is_gateway = is_desk or (bool(mail.returned) and not is_of_a_person(mail.sender))
    if not (is_daemon or is_gateway or mail.header("return-path").strip() == "<>"):
        return "returned_by_dialogue" if _is_dialogue(mail.text[:3_000]) else ""
    tells_failure = _FAILURE.search(without_original(mail.text)) is not None
    if _SUBJECT.search(mail.subject) and (is_daemon or tells_failure):
        return "returned_by_subject"
    return "returned_by_text" if tells_failure and (is_daemon or mail.returned) else ""


def _is_dialogue(text: str) -> bool:
    """Returns whether the text is a gateway's record of how a mail was refused."""
    return _ANSWER.search(text) is not None and all(command in text for command in ("MAIL FROM", "RCPT TO"))


def returned_recipients(mail: ParsedMail) -> tuple[ReturnedRecipient, ...]:
    """Returns what a returned mail says about each recipient that it names."""
    delays = _is_delay(mail)
    return tuple(
        _judged(report, is_delay=report.action in ("delayed", "relayed") or (delays and report.action != "failed"))
        for report in reports_of(mail)
        if report.action not in ("delivered", "expanded", "relayed")
    )


def _is_delay(mail: ParsedMail) -> bool:
    return _DELAYED.search(mail.subject) is not None or _DELAYED.search(without_original(mail.text)[:3_000]) is not None


def _judged(report: Report, *, is_delay: bool) -> ReturnedRecipient:
    kind, reason = reason_of(report.said, report.status)
    if is_delay and kind in (BounceKind.HARD, BounceKind.UNKNOWN):
        kind, reason = BounceKind.SOFT, Reason("delay_notice", reason.evidence)
    return ReturnedRecipient(report.address, kind, reason, report.aliases, is_delay)


def reason_of(said: tuple[str, ...], status: str = "") -> tuple[BounceKind, Reason]:
    """Returns why a server refused. Of several texts, the first that gives a reason decides."""
    said = tuple(without_guess(text) for text in said)
    about_sender = answers_the_sender(said)
    for place, text in enumerate(said):
        codes = codes_of(text, status if place == 0 else "", about_sender=about_sender)
        kind, rule, evidence = _read(text, codes)
        if kind not in _WEAK:
            return kind, Reason.of(rule, evidence)
    codes = codes_of(said[0] if said else "", status, about_sender=about_sender)
    kind = kind_of(codes)
    return kind, Reason.of(
        "status_code" if codes.enhanced or codes.reply else "no_reason", (said[0] if said else "") or status
    )


def _read(text: str, codes: Codes) -> tuple[BounceKind, str, str]:
    words = plain_words(text)
    by_words = [(rule, kind, found) for rule, kind, pattern in WORDS if (found := pattern.search(words))]
    by_code = kind_of(codes)
    rule, kind, found = _weighed(by_words, codes, by_code)
    if kind is BounceKind.HARD and codes.is_temporary:
        return (by_code if by_code is not BounceKind.UNKNOWN else BounceKind.SOFT), "temporary_reply", text
    return kind, rule, _sentence(text, found) if found else text


def _weighed(
    by_words: list[tuple[str, BounceKind, re.Match[str]]], codes: Codes, by_code: BounceKind
) -> tuple[str, BounceKind, re.Match[str] | None]:
    if not by_words:
        return ("status_code", by_code, None)
    rule, kind, found = by_words[0]
    if kind is BounceKind.POLICY and by_code is BounceKind.AUTH:
        return ("status_code", by_code, found)
    # The server refused the sender, whatever the words say about a domain or a user.
    if kind is BounceKind.HARD and (codes.detail in ("1.7", "1.8", "1.9") or codes.about_sender):
        return ("reply_about_the_sender", BounceKind.POLICY, found)
    if rule == "words_of_an_unknown_host" and codes.reply in ("501", "502", "503", "504"):
        return ("reply_about_syntax", BounceKind.POLICY, found)
    # RFC 7504: the host never accepts mail. Its words are often those of a busy host.
    lasts = rule != "words_of_a_passing_state" and kind in (BounceKind.SOFT, BounceKind.UNKNOWN)
    if lasts and codes.reply in ("521", "556"):
        return ("host_takes_no_mail", BounceKind.HARD, found)
    return rule, kind, found


def _sentence(text: str, found: re.Match[str]) -> str:
    """Returns the line of the text that contains the words, as far as it can be found."""
    last = found[0].split(" ")[-1]
    for line in text.split("\n"):
        if last in line.lower():
            return line.strip()
    return text
