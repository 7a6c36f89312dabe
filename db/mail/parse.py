"""Parses bytes to a ParsedMail. Never fails, and takes linear time."""

import re
from dataclasses import dataclass, field
from typing import Final

from db.domain.mail.message import Address, Attachment, Fields, ParsedMail
from db.mail.charsets import decoded
from db.mail.headers import addresses, ids, moment, raw_fields, text_of, with_parameters
from db.mail.html import may_hide, text_of_html
from db.mail.structure import Part, parts_of
from db.mail.transfer import content_of, size_of

TEXT_BYTES: Final = 4_194_304
"""How much of the text of one mail is decoded. The rest stays in the bytes, and is told as a defect."""
REPORT_BYTES: Final = 1_048_576
_ATTACHMENTS_MAX: Final = 1_000
_GROUPS_MAX: Final = 500

_BLANK_LINES: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))[ \t]*(?:\r\n|\n|\r(?!\n))\s*")
_ENCRYPTED: Final = ("multipart/encrypted", "application/pgp-encrypted")
_REPORTS: Final = ("message/delivery-status", "message/global-delivery-status")
_RECEIPTS: Final = ("message/disposition-notification", "message/global-disposition-notification")
_RETURNED_HEADERS: Final = ("text/rfc822-headers", "message/global-headers", "message/rfc822-headers")


@dataclass(slots=True)
class _Contents:
    texts: list[str] = field(default_factory=list[str])
    hidden: list[str] = field(default_factory=list[str])
    groups: list[Fields] = field(default_factory=list[Fields])
    feedback: Fields = ()
    disposition: Fields = ()
    returned: Fields = ()
    attachments: list[Attachment] = field(default_factory=list[Attachment])
    calendar_method: str = ""
    is_encrypted: bool = False
    left: int = TEXT_BYTES
    defects: list[str] = field(default_factory=list[str])
    alternatives: set[int] = field(default_factory=set[int])


def parse_mail(raw: bytes) -> ParsedMail:
    """Returns the mail in the bytes."""
    if b"\n" not in raw and b"\r" in raw:
        raw = raw.replace(b"\r", b"\n")
    parts, defects = parts_of(raw)
    contents = _Contents(defects=defects)
    inside = _inside_of_mails(parts)
    above = {part.parent for part in parts}
    for index, part in enumerate(parts):
        if inside[index]:
            if parts[part.parent].is_mail and not inside[part.parent] and not contents.returned:
                contents.returned = _decoded(part.fields)
        else:
            _read(raw, parts, part, contents, is_whole=index not in above)
    return _mail(parts[0], contents)


def _inside_of_mails(parts: list[Part]) -> list[bool]:
    """Returns for each part whether it belongs to an attached mail."""
    inside: list[bool] = []
    for index, part in enumerate(parts):
        above = part.parent
        inside.append(index > 0 and (inside[above] or parts[above].is_mail))
    return inside


def _read(raw: bytes, parts: list[Part], part: Part, contents: _Contents, *, is_whole: bool) -> None:
    kind = part.content_type
    contents.is_encrypted = contents.is_encrypted or kind in _ENCRYPTED or _is_enveloped(part)
    if not is_whole:
        return
    if kind in _REPORTS:
        contents.groups += _groups(_content(raw, part, REPORT_BYTES))
    elif kind == "message/feedback-report":
        contents.feedback = contents.feedback or _first(_groups(_content(raw, part, REPORT_BYTES)))
    elif kind in _RECEIPTS:
        contents.disposition = contents.disposition or _first(_groups(_content(raw, part, REPORT_BYTES)))
    elif kind in _RETURNED_HEADERS:
        contents.returned = contents.returned or _decoded(raw_fields(_content(raw, part, REPORT_BYTES)))
    elif _is_text(part) or part.is_multipart:  # a multipart that lost its delimiters is read as text
        _read_text(raw, parts, part, contents)
    else:
        if kind == "text/calendar":
            contents.calendar_method = contents.calendar_method or part.parameters.get("method", "").lower()
        if kind == "message/rfc822" and not part.is_mail and not contents.returned:
            contents.returned = _decoded(_head(_content(raw, part, REPORT_BYTES)))
        _attach(raw, part, contents)


def is_attachment(part: Part) -> bool:
    """Returns whether a part that has no parts is listed as an attachment alone: nothing in it is read."""
    kind = part.content_type
    is_read = part.is_multipart or kind.startswith("message/") or kind in _RETURNED_HEADERS or _is_text(part)
    return not is_read


def _is_enveloped(part: Part) -> bool:
    is_smime = part.content_type in ("application/pkcs7-mime", "application/x-pkcs7-mime")
    return is_smime and "signed" not in part.parameters.get("smime-type", "")


def _is_text(part: Part) -> bool:
    if part.header("content-disposition").strip().lower().startswith("attachment"):
        return False
    is_file = bool(part.parameters.get("name")) and part.parent >= 0 and part.content_type != "text/html"
    # `multipart/mixed` without a boundary is read as text.
    return (
        part.content_type in ("text/plain", "text/html", "text/enriched", "text/richtext", "text/x-amp-html")
        and not is_file
    ) or (part.content_type.startswith("multipart/") and not part.is_multipart)


def _read_text(raw: bytes, parts: list[Part], part: Part, contents: _Contents) -> None:
    if part.content_type == "text/x-amp-html":
        return
    text = _text(raw, part, contents)
    alternative = _alternative(parts, part)
    is_known = alternative >= 0 and alternative in contents.alternatives
    if _is_html(part, text):
        if is_known and not may_hide(text):
            return
        text, hidden = text_of_html(text)
        if hidden:
            contents.hidden.append(hidden)
    # Of alternatives, the plain text is read, or the other one if the plain text is empty.
    if is_known:
        return
    if alternative >= 0 and text.strip():
        contents.alternatives.add(alternative)
    if text.strip():
        contents.texts.append(text.strip("\n"))


def _is_html(part: Part, text: str) -> bool:
    if part.content_type == "text/html":
        return True
    return part.parent < 0 and text[:200].lstrip().lower().startswith(("<html", "<!doctype html"))


def _alternative(parts: list[Part], part: Part) -> int:
    above = part.parent
    while above >= 0 and parts[above].content_type == "multipart/related":
        above = parts[above].parent
    return above if above >= 0 and parts[above].content_type == "multipart/alternative" else -1


def _text(raw: bytes, part: Part, contents: _Contents) -> str:
    content = _content(raw, part, contents.left)
    if part.end - part.start > contents.left:
        contents.defects.append("the text is cut")
    contents.left = max(0, contents.left - (part.end - part.start))
    text = decoded(content, part.parameters.get("charset", "")).replace("\0", "")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _content(raw: bytes, part: Part, limit: int) -> bytes:
    return content_of(raw[part.start : min(part.end, part.start + limit)], part.header("content-transfer-encoding"))


def _attach(raw: bytes, part: Part, contents: _Contents) -> None:
    if len(contents.attachments) >= _ATTACHMENTS_MAX:
        contents.defects.append("too many attachments")
        return
    disposition = with_parameters(part.header("content-disposition"))[1]
    name = disposition.get("filename") or part.parameters.get("name", "")
    size = size_of(raw, part.start, part.end, part.header("content-transfer-encoding"))
    contents.attachments.append(Attachment(name.replace("\0", "")[:255], part.content_type[:100], size))


def _groups(content: bytes) -> list[Fields]:
    groups = [_decoded(raw_fields(block)) for block in _BLANK_LINES.split(content.strip(), _GROUPS_MAX)[:_GROUPS_MAX]]
    return [group for group in groups if group]


def _head(content: bytes) -> list[tuple[str, bytes]]:
    return raw_fields(_BLANK_LINES.split(content.lstrip(), 1)[0])


def _first(groups: list[Fields]) -> Fields:
    return groups[0] if groups else ()


def _decoded(fields: list[tuple[str, bytes]]) -> Fields:
    return tuple((name, text_of(value)) for name, value in fields)


def _mail(top: Part, contents: _Contents) -> ParsedMail:
    headers = _decoded(top.fields)
    first, raw = dict(reversed(headers)), dict(reversed(top.fields))
    senders = addresses(raw.get("from", b""))
    return ParsedMail(
        headers=headers,
        subject=first.get("subject", ""),
        sender=senders[0] if senders else Address(),
        to=addresses(raw.get("to", b"")),
        cc=addresses(raw.get("cc", b"")),
        date=moment(first.get("date", "")),
        internet_message_id=next(iter(ids(first.get("message-id", ""))), ""),
        in_reply_to=ids(first.get("in-reply-to", "")),
        references=ids(first.get("references", "")),
        content_type=top.content_type,
        report_type=top.parameters.get("report-type", "").lower(),
        calendar_method=contents.calendar_method,
        text="\n\n".join(contents.texts),
        hidden="\n".join(contents.hidden),
        delivery_report=tuple(contents.groups),
        feedback=contents.feedback,
        disposition=contents.disposition,
        returned=contents.returned,
        attachments=tuple(contents.attachments),
        is_encrypted=contents.is_encrypted,
        defects=tuple(dict.fromkeys(contents.defects)),
    )
