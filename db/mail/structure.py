"""Finds the parts of a mail in one pass over its bytes, without copies and without recursion.

Python's own parser compares each line with the boundaries of all enclosing parts, calls itself for each level and
copies attachments. This one only examines lines that begin with `--`.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from db.mail.headers import raw_fields, text_of, with_parameters

DEPTH_MAX: Final = 120
PARTS_MAX: Final = 2_000
HEADER_BYTES: Final = 262_144

# The pattern begins with two fixed characters, so that the search through an attachment is as fast as reading memory.
_DELIMITER: Final = re.compile(rb"--([^\r\n]{1,400}+)(?:\r?\n|\r|\Z)")
_BLANK: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_FIELD: Final = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")
_TELLING: Final = ("from", "to", "cc", "subject", "date", "received", "sender")
_NO_MAIL: Final = re.compile(rb"[\r\n]*(?:From [^\r\n]{0,500}\r?\n|>From [^\r\n]{0,500}\r?\n)?")


@dataclass(slots=True)
class Part:
    """A part: its fields, and the start and end of its content in the bytes. `parent` is its index, or -1."""

    fields: list[tuple[str, bytes]]
    start: int
    end: int
    parent: int
    depth: int
    content_type: str = "text/plain"
    parameters: dict[str, str] = field(default_factory=dict[str, str])

    def header(self, name: str) -> str:
        """Returns the first field of that name, decoded, or an empty text."""
        return next((text_of(value) for key, value in self.fields if key == name), "")

    @property
    def is_multipart(self) -> bool:
        """Returns whether its content is parts."""
        return self.content_type.startswith("multipart/") and bool(self.parameters.get("boundary"))

    @property
    def is_mail(self) -> bool:
        """Returns whether its content is a mail, such as a returned one."""
        return self.content_type in ("message/rfc822", "message/global") and self.header(
            "content-transfer-encoding"
        ).strip().lower() not in ("base64", "quoted-printable")


def parts_of(raw: bytes) -> tuple[list[Part], list[str]]:
    """Returns all parts and the defects. The mail itself comes first, and each part comes after the one that contains
    it.

    Parts beyond PARTS_MAX or DEPTH_MAX stay content of the part that contains them.
    """
    parts: list[Part] = []
    defects: list[str] = []
    beginning = _NO_MAIL.match(raw)
    open_parts = _opened(raw, parts, -1, beginning.end() if beginning else 0)
    boundaries = _boundaries(parts, open_parts)
    for line in _DELIMITER.finditer(raw, parts[0].start):
        if line.start() and raw[line.start() - 1] not in b"\r\n":
            continue
        name = line[1].rstrip()
        index = boundaries.get(name)
        is_close = False
        if index is None and name.endswith(b"--"):
            index, is_close = boundaries.get(name[:-2]), True
        if index is None or line.start() < parts[index].start:
            continue
        _close(raw, parts, open_parts, boundaries, index, line.start(), is_close=is_close)
        if is_close:
            continue
        if len(parts) >= PARTS_MAX or parts[index].depth >= DEPTH_MAX:
            defects.append("too many parts" if len(parts) >= PARTS_MAX else "nested too deep")
            break
        begun = _opened(raw, parts, index, line.end())
        open_parts.extend(begun)
        boundaries.update(_boundaries(parts, begun))
    return parts, defects


def _opened(raw: bytes, parts: list[Part], parent: int, start: int) -> list[int]:
    """Adds the part that begins there, and the mail in it if it contains one, and so on. Returns their indexes."""
    begun: list[int] = []
    while True:
        part = _part(raw, parent, parts[parent].depth + 1 if parent >= 0 else 0, start)
        parts.append(part)
        parent, start = len(parts) - 1, part.start
        begun.append(parent)
        if not part.is_mail or part.depth >= DEPTH_MAX or len(parts) >= PARTS_MAX:
            return begun


def _part(raw: bytes, parent: int, depth: int, start: int) -> Part:
    # No field begins with two dashes: a delimiter before the first blank line ends the part, which then has no content.
    dashes = start if raw.startswith(b"--", start) else raw.find(b"\n--", start, start + HEADER_BYTES) + 1 or len(raw)
    limit = min(dashes, start + HEADER_BYTES, len(raw))
    if raw[start : start + 1] in (b"\n", b"\r"):  # no headers at all
        body, block = start + (2 if raw.startswith(b"\r\n", start) else 1), b""
    else:
        blank = _BLANK.search(raw, start, limit)
        body, block = (blank.end(), raw[start : blank.start()]) if blank else (limit, raw[start:limit])
    fields = raw_fields(block)
    is_headed = _FIELD.match(block) and any("-" in name or name in _TELLING for name, _ in fields)
    if parent < 0 and not is_headed:
        fields, body = [], start  # a text without headers: its first paragraph is not a header
    part = Part(fields, body, len(raw), parent, depth)
    content_type, part.parameters = with_parameters(part.header("content-type"))
    part.content_type = content_type if "/" in content_type else "text/plain"
    return part


def _boundaries(parts: list[Part], indexes: list[int]) -> dict[bytes, int]:
    return {
        parts[index].parameters["boundary"].rstrip().encode("utf-8", "replace"): index
        for index in indexes
        if parts[index].is_multipart
    }


def _close(
    raw: bytes,
    parts: list[Part],
    open_parts: list[int],
    boundaries: dict[bytes, int],
    index: int,
    at: int,
    *,
    is_close: bool,
) -> None:
    """Closes all open parts inside the part `index`, and the part itself after its last delimiter."""
    end = at - (2 if raw[at - 2 : at] == b"\r\n" else 1)
    while open_parts and open_parts[-1] > index:
        closed = parts[open_parts.pop()]
        closed.end = max(end, 0)
        closed.start = min(closed.start, closed.end)
        _forget(boundaries, closed)
    if is_close and open_parts and open_parts[-1] == index:
        parts[open_parts.pop()].end = at
        _forget(boundaries, parts[index])


def _forget(boundaries: dict[bytes, int], part: Part) -> None:
    if part.is_multipart:
        boundaries.pop(part.parameters["boundary"].rstrip().encode("utf-8", "replace"), None)
