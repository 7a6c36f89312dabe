"""Placeholders as other programs write them, which no text of ours fills in: they would go out as they stand."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

_MOST: Final = 5
# What people call the fields of a person. Marks that texts use otherwise, too, count around these alone.
_FIELD: Final = (
    r"(?:(?:first|last|full|sur|fore|given|middle|family|user|nick|lead|contact|person|prospect|recipient|customer|client"
    r"|company|organi[sz]ation|account|business|sender|my|your|the)[ _.-]?)?"
    r"(?:f|l)?(?:name|company|organi[sz]ation|e-?mail|title|position|role|city|country|state|industry|phone|website"
    r"|salutation|signature|date)"
)
_PATTERNS: Final = (
    r"\*\|[^|\n]{1,60}\|\*",  # *|FNAME|* of Mailchimp
    r"%%=[^\n]{1,60}?=%%",  # %%=v(@name)=%% of Salesforce Marketing Cloud
    # %FIRSTNAME%, %%first_name%%, %recipient.name%; not the letters of an address, such as %C3%BC
    r"(?<!\d)%{1,2}(?:(?![0-9A-Fa-f]{2})|(?=[A-Z_]{3,40}%))[A-Za-z][A-Za-z_.]{2,40}%{1,2}",
    r"<%=?\s{0,5}[\w.@ ]{1,60}%>",  # <%= name %>
    r"\[%\s{0,5}[\w. ]{1,60}%\]",
    r"<<\s{0,5}[A-Za-z][\w .-]{0,60}>>",
    r"\[\[\s{0,5}[A-Za-z][\w .:|-]{0,60}\]\]",
    # [Name], [First Name], [firstname,fallback=there]; not a link, a citation or [sic]
    r"(?<![\w\]\[])\[(?!sic\])[A-Za-z][A-Za-z0-9_ .,:|='/-]{1,60}\](?![(\[:\w])",
    r"\$?\{[!$#@]?\s{0,5}[A-Za-z][\w .:|,'!?-]{0,80}\}",  # {first_name}, ${name}, {!Contact.Name}, {Hi|Hello}
    rf"(?i:(?<![\w#])#{{1,2}}{_FIELD}#{{1,2}})",
    rf"(?i:(?<!\w)__{_FIELD}__(?!\w))",
    rf"(?i:(?<!\w)@@{_FIELD}@@)",
    rf"(?i:(?<!\w)\${_FIELD}\$?(?!\w))",
    rf"(?i:«\s?{_FIELD}\s?»)",
    rf"(?i:<\s?{_FIELD}\s?>)",
    rf"(?i:\(\s?(?:insert )?{_FIELD}\s?\)(?=[,!:]))",
)
_FOREIGN: Final = re.compile("|".join(_PATTERNS))
# Where our own language stands, which has checks of its own.
_OPEN: Final = re.compile(r"\{[{%]")
_CLOSE: Final = {"{{": "}}", "{%": "%}"}


def foreign_placeholders(text: str) -> list[str]:
    """Returns what looks like placeholders of other programs, as they stand in the text; each once, at most five."""
    found = (match[0] for part in _outside(text) for match in _FOREIGN.finditer(part))
    return list(islice(dict.fromkeys(found), _MOST))


def _outside(text: str) -> Iterator[str]:
    """Yields the parts of a text that are no Liquid."""
    begun = 0
    while (opening := _OPEN.search(text, begun)) is not None:
        closing = text.find(_CLOSE[opening[0]], opening.end())
        if closing < 0:
            break
        yield text[begun : opening.start()]
        begun = closing + 2
    yield text[begun:]
