"""Finds the recipients of a returned mail, and what the mail says about each, in the fields of a report or the text."""

import re
from dataclasses import dataclass
from typing import Final

from db.domain.mail.message import LOOK_CHARACTERS, Fields, ParsedMail, field

_RECIPIENTS_MAX: Final = 200

_ADDRESS: Final = re.compile(
    r"(?:\"[^\"\s<>]{1,64}\"|[^\s<>@,;:\"'()\[\]/=\\|]{1,64})@[a-zA-Z0-9][a-zA-Z0-9.-]{0,252}[a-zA-Z0-9]"
)
_ORIGINAL: Final = re.compile(
    r"^\W{0,40}(?:below (?:this line )?is a copy|(?:this is a copy|included is a copy|here is a copy"
    r"|a copy) of (?:the|your) (?:original )?mess"
    r"|(?:message|the) headers? (?:follow|of the original)|the headers? of the original|(?:original|unsent"
    r"|returned|your|undelivered) message (?:text |headers? )?(?:follows|begins|is|header|below)"
    r"|original (?:message|header)"
    r"|message header(?:s)?\s*[:-]|enclosed is a copy|returned (?:message|mail) (?:follows|header)"
    r"|start of (?:returned|original)|the (?:original|first|following) .{0,40}(?:of the (?:original )?message"
    r"|was)[^.]{0,20}:$"
    r"|(?:body|text) of (?:the )?(?:original|returned)|forwarded message|message contents follow"
    r"|the message (?:that caused|you sent) |your original message)"
    r"|^(?:received|return-path|x-originating-ip|dkim-signature|message-id|mime-version|delivered-to"
    r"|authentication-results|domainkey-signature|arc-seal|reporting-mta)\s?:\s?\S",
    re.IGNORECASE | re.MULTILINE,
)
_TOLD: Final = re.compile(
    r"^[\s>*\-•|]{0,40}(?:(?:(?:failed |intended |final |original )?recipients?|(?:e-?mail )?address(?:es)?"
    r"|to|rcpt to|recipient address|user|delivery to|could not be delivered to|undeliverable to"
    r"|unable to deliver (?:your )?(?:message )?to|"
    r"addressed to|an? (?:error|problem) .{0,60}(?:mail|message|delivery) to|delivering (?:your )?(?:mail"
    r"|message) to|sent to|message to|failed to|failure to)\s*[:=]?\s*)?(?:rfc822;\s*)?"
    r"[<\"'(\[]{0,2}\s*(?:mailto:|smtp:)?(" + _ADDRESS.pattern + r")",
    re.IGNORECASE,
)
_REPORT_FIELD: Final = re.compile(
    r"^[> \t]{0,20}(Final-Recipient|Original-Recipient|Action|Status|Diagnostic-Code"
    r"|X-Actual-Recipient)[ \t]*:(.{0,2000})",
    re.IGNORECASE,
)
_NO_RECIPIENT: Final = re.compile(
    r"message-id|\bmail from\b(?! command)|^\s*(?:from|sender|reply-to|return-path|x-\w+|cc|received|by|subject|date"
    r"|references|in-reply-to)\s*:|envelope-from|contact |please (?:send|forward|write)|https?://\S*@",
    re.IGNORECASE,
)
_ANSWERED: Final = re.compile(
    r"^[ \t]{0,40}(?:<<<|\(reason:|Remote host said:|Received >>>|.{0,20} <<< [45]\d\d)", re.IGNORECASE
)
_CONTINUES: Final = re.compile(r"^<<< \d{3}-")
_DAEMONS: Final = re.compile(
    r"^(?:mailer-?daemon|postmaster|abuse|mail-daemon|noreply|no-reply|helpdesk|support)@", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a returned mail says about one recipient.

    said: texts to read a reason from, the most trustworthy first.
    action: as in RFC 3464, in lower case; empty if there is none.
    """

    address: str
    said: tuple[str, ...]
    status: str = ""
    action: str = ""
    aliases: tuple[str, ...] = ()


def without_original(text: str) -> str:
    """Returns the server's text, without the copy of the returned mail."""
    text = text[:LOOK_CHARACTERS]
    found = _ORIGINAL.search(text)
    return text[: found.start()] if found and text[: found.start()].strip() else text


def reports_of(mail: ParsedMail) -> tuple[Report, ...]:
    """Returns a report for each recipient that the mail names as failed or delayed; none if it names nobody."""
    text = without_original(mail.text)
    told = _told_in(mail, text)
    notified = _of_notification(mail)
    if notified:
        return notified
    fields = mail.delivery_report if _names_anybody(mail.delivery_report) else report_in(mail.text)
    groups = [_of_group(group, told, text) for group in fields[:_RECIPIENTS_MAX]]
    reports = [report for report in groups if report is not None]
    if not reports:
        reports = [Report(address, _said(segment, text, ())) for address, segment in told.items()]
    by_address: dict[str, Report] = {}
    for report in reports:
        by_address.setdefault(report.address, report)
    return tuple(by_address.values())


def is_notification(mail: ParsedMail) -> bool:
    """Returns whether the mail is a notification of Amazon SES, which SNS sends as JSON."""
    return mail.sender.address.endswith("@sns.amazonaws.com") and "notificationType" in mail.text[:LOOK_CHARACTERS]


def _of_notification(mail: ParsedMail) -> tuple[Report, ...]:
    if not is_notification(mail):
        return ()
    # The JSON of the bounce is a string in the JSON of the notification, and the mail broke its lines.
    text = mail.text[:LOOK_CHARACTERS].replace("\\", "").replace("\n", "")
    bounced = text.partition('"bouncedRecipients":')[2].partition("]")[0]
    reports: list[Report] = []
    for entry in bounced.split("}")[:_RECIPIENTS_MAX]:
        found = dict(re.findall(r'"(emailAddress|diagnosticCode|status|action)":\s*"([^"]{0,1000})"', entry))
        if "@" in found.get("emailAddress", ""):
            said = (found.get("diagnosticCode", ""),)
            reports.append(
                Report(found["emailAddress"].lower(), said, found.get("status", ""), found.get("action", ""))
            )
    return tuple(reports)


def report_in(text: str) -> tuple[Fields, ...]:
    """Returns the groups of a report in the text, as in a forwarded mail or in one that lost its parts."""
    groups: list[dict[str, str]] = []
    last = ""
    for line in text[:LOOK_CHARACTERS].split("\n"):
        found = _REPORT_FIELD.match(line)
        if found is None:
            if last and groups and line.startswith((" ", "\t")) and line.strip():
                groups[-1][last] += " " + line.strip()
            else:
                last = ""
            continue
        last = found[1].lower()
        if not groups or last in groups[-1]:
            groups.append({})
        groups[-1][last] = found[2].strip()
    return tuple(tuple(group.items()) for group in groups if "final-recipient" in group and "action" in group)


def _names_anybody(groups: tuple[Fields, ...]) -> bool:
    return any(
        field(group, "final-recipient") or field(group, "original-recipient") or field(group, "action")
        for group in groups
    )


def _of_group(group: Fields, told: dict[str, str], text: str) -> Report | None:
    named = [_typed(field(group, name)) for name in ("original-recipient", "final-recipient", "x-actual-recipient")]
    addresses = list(dict.fromkeys(address for address in named if "@" in address))
    action = field(group, "action").strip().lower().partition(" ")[0]
    diagnosis = field(group, "diagnostic-code")
    if not addresses:
        if not action or not told:
            return None
        addresses = [next(iter(told))]
    segment = next((told[address] for address in addresses if address in told), "" if len(told) > 1 else text)
    diagnosis = re.sub(r"^\s*(?:smtp|x-[\w-]+|unknown|x400|dns|rfc822)\s*;", "", diagnosis, flags=re.IGNORECASE)
    return Report(
        addresses[0], _said(segment, text, (diagnosis,)), field(group, "status"), action, tuple(addresses[1:])
    )


def _typed(value: str) -> str:
    # `rfc822; ann@example.com`; the type is sometimes missing, and the address sometimes in brackets.
    found = _ADDRESS.search(value.partition(";")[2] or value)
    return found[0].lower() if found else ""


def _said(segment: str, text: str, first: tuple[str, ...]) -> tuple[str, ...]:
    # The answer of the other server says more than the words of the server that reports it, and can be above the
    # address.
    answers, others = ([line.strip() for line in part.split("\n") if _ANSWERED.match(line)] for part in (segment, text))
    whole = (_whole(diagnosis, others) for diagnosis in first)
    texts = (*whole, "\n".join(answers), segment, "\n".join(others), text)
    return tuple(dict.fromkeys(part.strip() for part in texts if part.strip()))


def _whole(diagnosis: str, answers: list[str]) -> str:
    """Returns the whole answer, if the field has only the first of its lines."""
    start = diagnosis.strip()[:80]
    for number, line in enumerate(answers):
        if len(start) > 4 and start in line and _CONTINUES.match(line):
            rest = (place for place in range(number, len(answers)) if not _CONTINUES.match(answers[place]))
            return "\n".join([diagnosis, *answers[number + 1 : next(rest, len(answers)) + 1]])
    return diagnosis


def _told_in(mail: ParsedMail, text: str) -> dict[str, str]:
    """Returns the recipients that the text names, each with the lines about it."""
    own = {address.address for address in mail.to} | {mail.sender.address}
    lines = text.split("\n")
    failed = [found.lower() for found in _ADDRESS.findall(mail.header("x-failed-recipients"))]
    starts: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        address = _recipient_in(line)
        if address and (address not in own or address in failed) and not _DAEMONS.match(address):
            starts.append((number, address))
    if failed:
        starts = [start for start in starts if start[1] in failed]
    told: dict[str, str] = {}
    for place, (number, address) in enumerate(starts[:_RECIPIENTS_MAX]):
        end = starts[place + 1][0] if place + 1 < len(starts) else len(lines)
        segment = "\n".join(lines[number:end])
        told[address] = f"{told[address]}\n{segment}" if address in told else segment
    for address in failed:
        told.setdefault(address, text)
    return told or _guessed(mail, text, own)


def _recipient_in(line: str) -> str:
    if "@" not in line or _NO_RECIPIENT.search(line[:500]):
        return ""
    found = _TOLD.match(line[:500])
    return found[1].lower() if found else ""


def _guessed(mail: ParsedMail, text: str, own: set[str]) -> dict[str, str]:
    """Returns an address in the middle of the text, or else the recipient of the returned mail."""
    for line in text.split("\n"):
        if "@" in line and not _NO_RECIPIENT.search(line[:500]):
            for found in _ADDRESS.findall(line[:500]):
                if found.lower() not in own and not _DAEMONS.match(found):
                    return {found.lower(): text}
    returned = field(mail.returned, "to") or _copied_to(mail.text)
    found = _ADDRESS.search(returned)
    return {found[0].lower(): text} if found else {}


def _copied_to(text: str) -> str:
    found = re.search(r"^to:[ \t]*(.{1,300})", text[:LOOK_CHARACTERS], re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""
