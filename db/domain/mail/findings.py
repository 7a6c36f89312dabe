"""Finds what tries to steer the reader of a mail: hidden text, instructions to an agent, forged quotes."""

import re
from typing import Final

from db.domain.mail.message import LOOK_CHARACTERS, ParsedMail, is_answer
from db.domain.mail.patterns import WORD_BEGINS, any_of
from db.domain.mail.quoting import Said
from db.domain.mail.verdict import Finding
from db.domain.mail.visible import hidden_tags, visible

_HIDDEN_LETTERS: Final = 12
_QUOTE_LETTERS: Final = 25

_INSTRUCTIONS: Final = any_of(
    r"""
    \b(?:ignore|disregard|forget|override)\b.{0,30}\b(?:previous|prior|above|earlier|preceding|system|\
        your)\b.{0,30}\b(?:instructions?|prompts?|rules?|guidelines)
    \b(?:you are|act as|as) (?:now )?an? (?:ai|llm|language model|assistant|autonomous|sales|\
        helpful)?\s?(?:agent|assistant|model|bot)\b
    \b(?:dear|attention|hey|hi|hello|note to|instructions? (?:for|to)|message (?:for|to)|notice to) (?:the |\
        any |all )?(?:ai|llm|language model|assistant|ai assistant|ai agent|agent|agents|bot|claude|chatgpt|\
        gpt|gemini|copilot)\b
    if you(?:'re| are) an? (?:ai|llm|language model|automated|bot|agent|assistant)|(?:ai|llm) (?:agents?|assistants?|\
        models?|systems?) (?:must|should|reading|processing|are (?:required|instructed|to))
    your (?:new |real |only )?(?:task|instructions?|goal|role) (?:is|are) (?:now|to)|(?:end of|begin) (?:system )?prompt
    \bsystem prompt\b|\bnew instructions?:
    \b(?:do not|don't) (?:tell|inform|alert|mention (?:this|it) to) (?:the |your )?(?:user|owner|operator|\
        human|principal)
    <\/?(?:system|tool_call|tool|function_calls?|instructions?|assistant|admin)\b
    \[(?:system|inst|/inst|assistant)\]|^\s*(?:system|assistant|developer)\s?:\s|\bBEGIN (?:SYSTEM|INSTRUCTIONS)
    \b(?:call|run|use|invoke|execute) (?:the )?(?:tool|function)\b
    \b(?:suppress|unsubscribe|delete|export|erase|approve|enroll)_?\w*\(
    \b(?:erase_contact|approve_drafts|update_campaign|reply_in_thread|sort_reply|export_contacts|\
        delete_campaign|draft_action|update_settings)\b
    \b(?:ignorier\w*|missachte\w*|vergiss|vergessen sie)\b.{0,40}\b(?:anweisungen|instruktionen|regeln)
    \b(?:ignore[zr]?|oublie[zr]?)\b.{0,40}\b(?:instructions|consignes)
    \b(?:ignora|ignore|olvida|olvide)\b.{0,40}\b(?:instrucciones|indicaciones|reglas)
    \b(?:ignora|dimentica)\w*\b.{0,40}\b(?:istruzioni|regole)
    \b(?:negeer|vergeet)\b.{0,40}\b(?:instructies|opdrachten|regels)
    \b(?:ignore|esqueça|ignora)\w*\b.{0,40}\b(?:instruções|regras)
    """,
    before=WORD_BEGINS,
    flags=re.IGNORECASE | re.MULTILINE,
)
# Words of which each pattern needs one. A mail without any of them is not searched further, since the search would take
# most of the time.
_KEYS: Final = (
    "instruct", "instruk", "instruc", "instruç", "istruz", "anweisung", "consigne", "indicacion", "opdracht", "regol",
    "regel", "regra", "regla", "rule", "prompt", "guideline", "assistant", "agent", "llm", "language model", " ai",
    "bot", "model", "claude", "gpt", "gemini", "copilot", "tell", "inform", "alert", "mention", "tool", "function",
    "system", "developer", "[inst", "(", "_", "your ",
)  # fmt: skip
_SPACE: Final = re.compile(r"[\s>]+")


def findings_in(mail: ParsedMail, said: Said, sent: tuple[str, ...] | None = None) -> tuple[Finding, ...]:
    """Returns the findings of a mail, in a fixed order.

    sent: our texts in this conversation, if they are known: a quote of us must be in one of them. If they are not
    known, a quote of us is forged if the mail answers nothing.
    """
    hidden = visible(mail.hidden) + hidden_tags(mail.text[:LOOK_CHARACTERS]) + hidden_tags(mail.subject)
    found: list[Finding] = []
    if sum(map(str.isalpha, hidden)) >= _HIDDEN_LETTERS:
        found.append(Finding.HIDDEN_TEXT)
    if any(_instructs(text[:LOOK_CHARACTERS]) for text in (mail.subject, visible(mail.text), hidden)):
        found.append(Finding.INSTRUCTIONS_TO_AN_AGENT)
    if _is_forged(mail, said, sent):
        found.append(Finding.FORGED_QUOTE)
    return tuple(found)


def _instructs(text: str) -> bool:
    """Returns whether the text gives instructions to an agent. Each line is read with the next one, since programs
    break lines anywhere."""
    lowered = text.lower()
    keys = [key for key in _KEYS if key in lowered]
    if not keys:
        return False
    lines = lowered.split("\n")
    pairs = (f"{line} {below.lstrip('> ')}" for line, below in zip(lines, [*lines[1:], ""], strict=True))
    return any(_INSTRUCTIONS.search(pair) for pair in pairs if any(key in pair for key in keys))


def _is_forged(mail: ParsedMail, said: Said, sent: tuple[str, ...] | None) -> bool:
    own = {address.address for address in mail.to}
    head = said.quoted[:600].lower()
    if not any(address and address in head for address in own):
        return False
    if sent is None:
        # Some programs write answers without ids. The subject still shows that it is an answer.
        return not (mail.in_reply_to or mail.references) and not is_answer(mail)
    known = _SPACE.sub("", "".join(sent)).lower()
    lines = (
        line.lstrip("> \t")
        for line in said.quoted.split("\n")
        if line.startswith(">") and not line.startswith((">>", "> >"))
    )
    whole = [_SPACE.sub("", line).lower() for line in lines]
    return any(len(line) >= _QUOTE_LETTERS and line not in known for line in whole if "@" not in line)
