"""Converts HTML to the text that a reader sees, in one pass, and collects hidden text separately.

Parsers that build a tree, as browsers do, take quadratic time for nested tags (lexbor: 80 kB of `<div>` take half a
second), and mail needs no tree.
"""

import html
import re
from dataclasses import dataclass, field
from typing import Final

QUOTE_DEPTH: Final = 8
_STACK_LOOK: Final = 64
_STACK_MAX: Final = 5_000

_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:]{0,20})")
_VOID: Final = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "o:p",
    ]
)
_SKIPPED: Final = frozenset(["script", "style", "head", "title", "template", "object", "svg", "noframes"])
_LINES: Final = frozenset(
    [
        "address",
        "article",
        "aside",
        "center",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "pre",
        "section",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
        "body",
        "html",
        "blockquote",
    ]
)
_SPACED: Final = frozenset(["p", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "ul", "ol"])
_ATTRIBUTE: Final = re.compile(r"([a-zA-Z-]{1,30})\s*+(?:=\s*+(?:\"([^\"]*+)\"?|'([^']*+)'?|([^\s\"'>]++)))?")
_SPACES: Final = re.compile(r"[ \t\r\n\f]+")
_HIDING: Final = re.compile(
    r"display:none|visibility:hidden|font-size:(?:0|1)(?:px|pt|em|rem|%)?(?:[;!]|$)|opacity:0(?:\.0+)?(?:[;!]"
    r"|$)|mso-hide:all"
    r"|max-height:0(?:px)?(?:[;!]|$)|text-indent:-\d{3,}|(?:^|;)color:(?:#fff(?:fff)?|white|transparent)(?:[;!]|$)"
)
_MAY_HIDE: Final = re.compile(
    r"(?:display|visibility|font-size|opacity|max-height|text-indent)\s*+:\s*+(?:none|hidden|-|[01](?![\d.]*[2-9]))|mso-hide"
    r"|\bhidden\b|color\s*+[:=]\s*+[\"']?(?:#fff|white|transparent)",
    re.IGNORECASE,
)
_BACKGROUND: Final = re.compile(r"background(?:-color)?:(?!#fff|white|transparent|none|inherit)")


@dataclass(slots=True)
class _Reader:
    shown: list[str] = field(default_factory=list[str])
    hidden: list[str] = field(default_factory=list[str])
    line: list[str] = field(default_factory=list[str])
    stack: list[tuple[str, bool, bool]] = field(default_factory=list[tuple[str, bool, bool]])
    hiding: int = 0
    quoting: int = 0
    preformatted: int = 0
    coloured: int = 0
    blank: bool = True

    def text(self, content: str) -> None:
        content = html.unescape(content) if "&" in content else content
        if self.hiding:
            self.hidden.append(content)
        elif self.preformatted:
            first, *others = content.replace("\r\n", "\n").split("\n")
            self.line.append(first)
            for other in others:
                self.end_line(keep=True)
                self.line.append(other)
        else:
            self.line.append(_SPACES.sub(" ", content))

    def end_line(self, *, keep: bool = False) -> None:
        joined = "".join(self.line)
        content = joined.rstrip() if self.preformatted else _SPACES.sub(" ", joined).strip(" ")
        self.line.clear()
        if not content and (self.blank or not keep):
            return
        prefix = "> " * min(self.quoting, QUOTE_DEPTH)
        self.shown.append(prefix + content if content else prefix.rstrip())
        self.blank = not content

    def open(self, name: str, attributes: str) -> None:
        if name == "br":
            self.end_line(keep=True)
            return
        if name in _LINES or name == "p":
            self.end_line()
        if name in _SPACED:
            self.end_line(keep=True)
        if name == "li":
            self.line.append("- ")
        if name in ("td", "th"):
            self.line.append(" ")
        if name in _VOID or attributes.endswith("/") or len(self.stack) >= _STACK_MAX:
            return
        hides, colours = self._hides(attributes)
        self.stack.append((name, hides, colours))
        self.hiding += hides
        self.coloured += colours
        self.quoting += name == "blockquote"
        self.preformatted += name == "pre"

    def close(self, name: str) -> None:
        if name in _LINES or name == "p":
            self.end_line()
        if name in _SPACED:
            self.end_line(keep=True)
        reach = max(0, len(self.stack) - _STACK_LOOK)
        for place in range(len(self.stack) - 1, reach - 1, -1):
            if self.stack[place][0] == name:
                break
        else:
            return
        while len(self.stack) > place:
            opened, hides, colours = self.stack.pop()
            self.hiding -= hides
            self.coloured -= colours
            self.quoting -= opened == "blockquote"
            self.preformatted -= opened == "pre"

    def _hides(self, attributes: str) -> tuple[bool, bool]:
        if len(attributes) < 6:
            return False, False
        hides = colours = False
        for key, double, single, bare in _ATTRIBUTE.findall(attributes[:4_000]):
            name, value = key.lower(), (double or single or bare).lower()
            if name == "style":
                style = value.replace(" ", "")
                colours = colours or _BACKGROUND.search(style) is not None
                found = _HIDING.search(style)
                hides = hides or (found is not None and not ("color" in found[0] and (self.coloured or colours)))
            elif name == "bgcolor":
                colours = colours or value not in ("#ffffff", "#fff", "white")
            elif name == "hidden":
                hides = True
            elif name == "color" and value in ("#ffffff", "#fff", "white"):
                hides = hides or not (self.coloured or colours)
        return hides, colours


def may_hide(source: str) -> bool:
    """Returns whether the HTML has anything that may hide text. Most mails have nothing."""
    return _MAY_HIDE.search(source) is not None


def text_of_html(source: str) -> tuple[str, str]:
    """Returns (visible text, hidden text). Each line inside a blockquote begins with `> `."""
    reader = _Reader()
    at, end = 0, len(source)
    while at < end:
        begin = source.find("<", at)
        if begin < 0:
            break
        if begin > at:
            reader.text(source[at:begin])
        at = _markup(reader, source, begin)
    if at < end:
        reader.text(source[at:])
    reader.end_line()
    return "\n".join(reader.shown).strip("\n"), " ".join(" ".join(reader.hidden).split())


def _markup(reader: _Reader, source: str, begin: int) -> int:
    """Reads the markup that begins with `<` at this position. Returns where the text continues."""
    if source.startswith("<!--", begin):
        close = source.find("-->", begin + 2)
        return len(source) if close < 0 else close + 3
    tag = _TAG.match(source, begin)
    if tag is None and source[begin + 1 : begin + 2] not in ("!", "?", "/"):
        reader.text("<")
        return begin + 1
    close = _end_of_tag(source, begin)
    if tag is None:
        return close + 1
    name = tag[2].lower()
    if tag[1]:
        reader.close(name)
        return close + 1
    if name in _SKIPPED:
        return _after(source, name, close + 1)
    reader.open(name, source[tag.end() : close])
    return close + 1


def _end_of_tag(source: str, begin: int) -> int:
    close = source.find(">", begin)
    # A `>` in a quoted value is rare, so it is searched only a few times.
    for _ in range(3):
        if close < 0 or source.count('"', begin, min(close, begin + 4_000)) % 2 == 0:
            break
        quote = source.find('"', close, close + 4_000)
        if quote < 0:
            break
        close = source.find(">", quote)
    return len(source) if close < 0 else close


def _after(source: str, name: str, at: int) -> int:
    """Returns the position after the end tag of an element whose content is not text. `head` also ends where the body
    begins."""
    ends = re.compile(rf"</{name}\b[^>]*+>?" if name != "head" else r"</head\b[^>]*+>?|(?=<body\b)", re.IGNORECASE)
    found = ends.search(source, at)
    return len(source) if found is None else max(found.end(), at)
