"""Judges a mail by the rules, in the order in which they decide."""

from datetime import date

from db.domain.mail import absences, automatic, departures
from db.domain.mail.bounces import is_returned, returned_recipients
from db.domain.mail.findings import findings_in
from db.domain.mail.message import ParsedMail, field, is_answer
from db.domain.mail.quoting import Said, said_in
from db.domain.mail.verdict import BounceKind, MailKind, Reason, ReturnedRecipient, Verdict
from db.domain.mail.wishes import wish_to_leave


def judge(mail: ParsedMail, *, today: date | None = None, sent: tuple[str, ...] | None = None) -> Verdict:
    """Returns the verdict on one mail.

    today: the day from which relative dates count; the mail's own date has priority. sent: our texts in this
    conversation, as far as they are known, to recognise forged quotes.
    """
    said = said_in(mail.text, name=mail.sender.name)
    day = mail.date.date() if mail.date else today
    verdict = _complaint(mail) or _returned(mail) or _by_program(mail, said, day) or _by_person(mail, said)
    return Verdict(
        kind=verdict.kind,
        reason=verdict.reason,
        recipients=verdict.recipients,
        until=verdict.until,
        successor=verdict.successor,
        text=said.text,
        findings=findings_in(mail, said, sent),
    )


def _complaint(mail: ParsedMail) -> Verdict | None:
    reported = field(mail.returned, "x-hmxmroriginalrecipient").strip(" <>").lower()
    if reported:  # Microsoft's reports are the reported mail itself, with a header
        reason = Reason.of("feedback_header", mail.subject)
        return Verdict(MailKind.COMPLAINT, reason, (ReturnedRecipient(reported, BounceKind.UNKNOWN, reason),))
    if not mail.feedback and mail.report_type != "feedback-report":
        return None
    sort = field(mail.feedback, "feedback-type").strip().lower()
    reason = Reason.of("feedback_report", f"Feedback-Type: {sort}" if sort else mail.subject)
    if sort in ("not-spam", "auth-failure", "dmarc"):
        return Verdict(MailKind.OTHER, reason)
    kind = MailKind.UNSUBSCRIBE if sort in ("opt-out", "opt-out-list") else MailKind.COMPLAINT
    named = [value for name, value in mail.feedback if name in ("original-rcpt-to", "removal-recipient")]
    addresses = dict.fromkeys(
        value.strip(" <>").lower() for value in named or [field(mail.returned, "to")] if "@" in value
    )
    return Verdict(kind, reason, tuple(ReturnedRecipient(address, BounceKind.UNKNOWN, reason) for address in addresses))


def _returned(mail: ParsedMail) -> Verdict | None:
    rule = is_returned(mail)
    if not rule:
        return None
    recipients = returned_recipients(mail)
    if not recipients and any(field(group, "action") for group in mail.delivery_report):
        return Verdict(MailKind.OTHER, Reason.of("delivery_confirmed", mail.subject))
    reason = recipients[0].reason if recipients else Reason.of(rule, mail.subject)
    return Verdict(MailKind.BOUNCE, reason, recipients)


def _by_program(mail: ParsedMail, said: Said, day: date | None) -> Verdict | None:
    wish = automatic.unsubscribes(mail)
    if wish:
        return Verdict(MailKind.UNSUBSCRIBE, wish)
    receipt = automatic.is_receipt(mail)
    if receipt:
        return Verdict(MailKind.AUTO_REPLY, receipt)
    if mail.calendar_method == "reply" and (not said.text.strip() or mail.has("auto-submitted")):
        return Verdict(MailKind.AUTO_REPLY, Reason.of("calendar_answer", mail.subject))
    program = automatic.written_by_a_program(mail)
    notice = automatic.is_notice(mail)
    if notice and (program is None or program.rule in ("auto_submitted", "null_sender")):
        return Verdict(MailKind.OTHER, notice)
    text = said.text or mail.text
    program = program or (None if said.quoted else automatic.says_that_a_program_wrote(text))
    if program is None and not said.quoted:
        program = _by_words(mail, text)
    return _automatic(mail, f"{mail.subject}\n\n{text}", program, day) if program else None


def _by_words(mail: ParsedMail, text: str) -> Reason | None:
    """Recognises a program by what it writes, if it sets no header and does not say that it is a program."""
    receipt = automatic.confirms_receipt(mail, text) if automatic.is_from_a_desk(mail) else None
    return receipt or absences.announces(mail.subject, text)


def _automatic(mail: ParsedMail, text: str, program: Reason, day: date | None) -> Verdict:
    gone = absences.left(text)
    if gone:
        own = frozenset({mail.sender.address, *(address.address for address in (*mail.to, *mail.cc))})
        return Verdict(MailKind.HAS_LEFT, gone, successor=absences.successor(text, besides=own))
    away = absences.away(text)
    until = absences.day_of_return(text, day)
    receipt = automatic.confirms_receipt(mail, text)
    if away or (until and not receipt):
        return Verdict(MailKind.ABSENCE, away or program, until=until)
    if program.rule == "null_sender" and not receipt and not is_answer(mail):
        return Verdict(MailKind.OTHER, program)
    if receipt or automatic.is_from_a_desk(mail):
        return Verdict(MailKind.AUTO_REPLY, receipt or program)
    return Verdict(MailKind.ABSENCE, program, until=until)


def _by_person(mail: ParsedMail, said: Said) -> Verdict:
    if said.is_own or not mail.text.strip():
        wish = wish_to_leave(mail.subject, said.text)
        if wish:
            return Verdict(MailKind.UNSUBSCRIBE, wish)
    gone = departures.has_left(mail, said)
    if gone:
        own = frozenset({mail.sender.address, *(address.address for address in (*mail.to, *mail.cc))})
        return Verdict(MailKind.HAS_LEFT, gone, successor=absences.successor(said.text, besides=own))
    return Verdict(MailKind.HUMAN, Reason.of("nothing_else", said.text or mail.subject))
