"""Columns that say that nobody may write to a person: unsubscribed, opted out, bounced, do not contact.

A clear opt-out suppresses the person. If a cell may be an opt-out, its row is refused until the caller says what the
column means. Any other status is an ordinary attribute.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from db.domain.contacts import strength
from db.domain.errors import InvalidInput
from db.domain.states import SuppressionReason
from mcp_server.jobs.people_files.columns import columns_called
from mcp_server.jobs.people_files.headings import key, without_prefix


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_UNSUBSCRIBED, _BOUNCED = SuppressionReason.UNSUBSCRIBED, SuppressionReason.BOUNCED
_COMPLAINED, _MANUAL = SuppressionReason.COMPLAINED, SuppressionReason.MANUAL
# Columns in which any value but a no is an opt-out: true, yes, x, a date, a reason.
_OUT: Final[Mapping[SuppressionReason, str]] = {
    _UNSUBSCRIBED: """
        unsubscribed unsubscribe isunsubscribed hasunsubscribed emailunsubscribed unsubscribedfromallemail
        unsubscribedfromallemails unsubscribedfromall globallyunsubscribed globalunsubscribe unsubtime unsubscribetime
        unsubscribedat unsubscribedate unsubscribedon dateunsubscribed unsubscribedtime unsubscribereason unsubreason
        optedout optout isoptedout hasoptedout emailoptout emailoptedout isemailoptout optedoutofemail
        hasoptedoutofemail hsemailoptout optoutdate optedoutdate optedoutat optoutat optedouton optedoutofemails
        optoutofemail abgemeldet abbestellt abgemeldetam desabonne desinscrit dadodebaja desuscrito
    """,
    _MANUAL: """
        donotcontact dnc donotemail donotmail donotsendemail donotsendemails donotallowemail donotallowemails
        donotallowbulkemail donotallowbulkemails nocontact nevercontact noemail noemails nomail nomails
        nomailing nomailings nomassmailing nomassmailings nomarketing nomarketingemails stopmailing keinmailing
        keinemailings keinewerbung blacklisted blacklist
        emailblacklisted emailblacklist isblacklisted blocklisted blocklist emailblocklisted isblocklisted
        suppressed issuppressed emailsuppressed emailsuppressions nichtkontaktieren keinkontakt werbesperre mailsperre
        nepascontacter nocontactar
    """,
    _BOUNCED: """
        bounced bounce isbounced emailbounced isemailbounced bouncedemail emailbouncedreason emailbounceddate
        bouncedat bouncedate bouncereason hardbounce hardbounced ishardbounced emailhardbounced emailhardbouncereason
        hardbouncereason cleantime cleaned invalidemail emailinvalid isemailinvalid invalidemailaddress hsemailbounced
    """,
    _COMPLAINED: """
        complained complainedat spamcomplaint markedasspam markedspam reportedspam reportedasspam spamreport
        spamreported
    """,
}
# Columns of a consent, in which a no may be an opt-out.
_IN: Final = _words("""
    subscribed issubscribed optin optedin hasoptedin emailoptin emailoptedin acceptsmarketing acceptsemailmarketing
    acceptsemail acceptsemails marketingconsent emailconsent emailmarketingconsent consent gdprconsent emailpermission
    allowemail allowemails emailallowed cancontact cancontactbyemail canemail canbecontacted contactable mailable
""")
# Other headings that mention an opt-out, such as "Opted out of email: Newsletter".
_HINTS: Final[Mapping[str, SuppressionReason]] = {
    "unsubscri": _UNSUBSCRIBED,
    "optout": _UNSUBSCRIBED,
    "optedout": _UNSUBSCRIBED,
    "donotcontact": _MANUAL,
    "donotemail": _MANUAL,
    "donotmail": _MANUAL,
    "blacklist": _MANUAL,
    "blocklist": _MANUAL,
    "hardbounce": _BOUNCED,
    "emailbounce": _BOUNCED,
    "spamcomplain": _COMPLAINED,
}
_NO_HINT: Final = re.compile("rate|count|number|link|url|soft|percent|total")
# Cells that are an opt-out in any column.
_WORDS: Final[Mapping[SuppressionReason, str]] = {
    _UNSUBSCRIBED: """
        unsubscribed unsubscribe unsub unsubscribedfromall optedout optout emailoptout emailoptedout
        emailsunsubscribed emailunsubscribed globalunsubscribe abgemeldet abbestellt desabonne desinscrit dadodebaja
    """,
    _MANUAL: """
        donotcontact donotcontactagain donotemail donotmail nevercontact dnc blacklisted blocklisted
        emailblacklisted suppressed nichtkontaktieren nepascontacter nocontactar
    """,
    _BOUNCED: "bounced hardbounce hardbounced emailbounced emailsbounced emailhardbounced",
    _COMPLAINED: "complained spamcomplaint markedasspam reportedspam reportedasspam spamreport",
}
# Cells that are an opt-out only in a column of a status.
_STATUS_WORDS: Final[Mapping[SuppressionReason, str]] = {
    _MANUAL: "blacklist blocklist blocked spamtrap abuse manualsuppression excluded",
    _BOUNCED: "bounce cleaned undeliverable invalid invalidemail",
    _COMPLAINED: "complaint spam",
}
# In a column of a status, who or when may stand after the word.
_FOLLOWED: Final = re.compile("(unsubscribed|optedout|bounced|hardbounced|complained)(?:by|on|at|since|via)")
_OF_MAIL: Final = re.compile("mail|subscri|suppress|deliver|verif")
# In a column of another status, such as that of a lead, these say nothing about an address.
_OF_MAIL_ALONE: Final = _words("invalid undeliverable abuse excluded")
_TAGS: Final = _words("tags tag labels label groups group lists list segments segment groupmembership categories")
_NO: Final = _words("""
    0 00 000 no n f false none null na nan never nein non nej nee off allow allowed subscribed active valid ok
    notbounced notunsubscribed undefined notset neverbounced notoptedout unbekannt unknown falsch faux falso
""") | {""}
_YES: Final = _words("1 yes y true t x ja j oui o si s on wahr vrai verdadero")
_TICKS: Final = "\u2713\u2714\u2611\u2705\u2612\u2717\u2718"
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_LONGEST: Final = 80


def _table(words: Mapping[SuppressionReason, str]) -> Mapping[str, SuppressionReason]:
    return MappingProxyType({word: reason for reason, text in words.items() for word in text.split()})


_OUT_BY_HEADING, _REASONS, _STATUS_REASONS = _table(_OUT), _table(_WORDS), _table(_STATUS_WORDS)


class Asked(NamedTuple):
    """A cell that may be an opt-out, about which the caller is asked."""

    question: str


class OptOut(NamedTuple):
    """An opt-out in a column: the reason, and the heading."""

    reason: SuppressionReason
    heading: str


Rule = Callable[[str], SuppressionReason | bool | None]
"""What a cell says: a reason, nothing (None), or that it has to be asked about (True)."""


class Rules(NamedTuple):
    """The rule of each column, and the headings."""

    headings: Sequence[str]
    by_column: Mapping[int, Rule]

    def of(self, cells: Sequence[str]) -> OptOut | Asked | None:
        """Returns the opt-out of a row; if there are several, the strongest."""
        found: OptOut | None = None
        asked: Asked | None = None
        for column, rule in self.by_column.items():
            cell = cells[column].strip() if column < len(cells) else ""
            says = rule(cell) if cell else None
            if isinstance(says, SuppressionReason):
                if found is None or strength(says) > strength(found.reason):
                    found = OptOut(says, self.headings[column].strip())
            elif says:
                asked = Asked(_question(self.headings[column].strip(), cell))
        return found or asked


def rules_of(
    headings: Sequence[str], columns: Iterable[int], *, suppress_where: Sequence[str] = (), ignored: Sequence[str] = ()
) -> Rules:
    """Returns the rules of a file, for the columns that are no field of a person. `suppress_where` has `COLUMN=VALUE`,
    or
    `COLUMN` where anything but a no suppresses; `ignored` has columns that mean nothing of the kind. InvalidInput if
    one of them names no column."""
    rules = {column: _rule(headings[column]) for column in columns}
    for name in ignored:
        rules.pop(_column(headings, name, "ignored opt-outs"), None)
    told: dict[int, list[str]] = {}
    for condition in suppress_where:
        name, _, value = condition.partition("=")
        told.setdefault(_column(headings, name, "suppress_where"), []).append(value.strip())
    for column, values in told.items():
        rules[column] = _told(values, rules.get(column, _reason_of_word))
    return Rules(headings, rules)


def _column(headings: Sequence[str], name: str, argument: str) -> int:
    columns = columns_called(headings, name)
    if not columns:
        raise InvalidInput(f"{argument}: no column is called {name.strip()[:_LONGEST]}. Give COLUMN=VALUE of the file.")
    return columns[0]


def _rule(heading: str) -> Rule:
    for name in without_prefix(key(heading)):
        if name in _OUT_BY_HEADING:
            return _out(_OUT_BY_HEADING[name])
        if name in _IN:
            return _consent
        hint = next((reason for part, reason in _HINTS.items() if part in name and not _NO_HINT.search(name)), None)
        if hint is not None:
            return _hinted(hint)
        if name in _TAGS:
            return _tags
    name = key(heading)
    return _status(is_status=name in ("status", "reason"), is_of_mail=bool(_OF_MAIL.search(name)))


def _out(reason: SuppressionReason) -> Rule:
    def rule(cell: str) -> SuppressionReason | None:
        word = key(cell[:_LONGEST])
        if (word in _NO and not _is_ticked(cell)) or word.startswith("soft") or cell[:4].lower() == "http":
            return None
        return _REASONS.get(word, reason)

    return rule


def _hinted(reason: SuppressionReason) -> Rule:
    sure = _out(reason)

    def rule(cell: str) -> SuppressionReason | bool | None:
        said = sure(cell)
        word = key(cell)
        is_plain = word in _YES or word in _REASONS or _is_ticked(cell) or _DATE.search(cell[:_LONGEST])
        return said if said is None or is_plain else True

    return rule


def _consent(cell: str) -> SuppressionReason | bool | None:
    word = key(cell)
    said = _REASONS.get(word)
    return said if said is not None else (word in _NO and word not in ("", "subscribed", "active", "allow", "allowed"))


def _tags(cell: str) -> SuppressionReason | None:
    parts = re.split("[,;|]|:::", cell[:10_000])
    reasons = [reason for reason in map(_reason_of_word, parts) if reason is not None]
    return max(reasons, key=strength, default=None)


def _status(*, is_status: bool, is_of_mail: bool = False) -> Rule:
    return _reason_of_mail if is_of_mail else _reason_of_status if is_status else _reason_of_word


@lru_cache(maxsize=4_096)
def _reason_of_word(cell: str) -> SuppressionReason | None:
    return _REASONS.get(key(cell)) if len(cell) <= _LONGEST else None


def _reason_of_status(cell: str) -> SuppressionReason | None:
    return None if key(cell) in _OF_MAIL_ALONE else _reason_of_mail(cell)


@lru_cache(maxsize=4_096)
def _reason_of_mail(cell: str) -> SuppressionReason | None:
    if len(cell) > _LONGEST:
        return None
    word = key(cell)
    followed = _FOLLOWED.match(word)
    return _REASONS.get(followed[1] if followed else word) or _STATUS_REASONS.get(word)


def _told(values: Sequence[str], otherwise: Rule) -> Rule:
    """Returns the rule of a column that the caller has explained. Cells that are clear opt-outs stay opt-outs."""
    wanted = {value.casefold() for value in values if value}
    anything = _out(_MANUAL) if "" in values else None

    def rule(cell: str) -> SuppressionReason | None:
        clear = otherwise(cell)
        if isinstance(clear, SuppressionReason):
            return clear
        if cell.casefold() in wanted:
            return _STATUS_REASONS.get(key(cell), _MANUAL)
        said = anything(cell) if anything is not None else None
        return said if isinstance(said, SuppressionReason) else None

    return rule


def _is_ticked(cell: str) -> bool:
    return len(cell) < 4 and any(tick in cell for tick in _TICKS)


def _question(heading: str, cell: str) -> str:
    shown = f"{heading}={cell[:_LONGEST]}"
    return (
        f'column "{heading}" may say that this person must not be written to. If it does, say suppress_where '
        f'"{shown}"; if not, say that "{heading}" is not an opt-out, or take the column out'
    )
