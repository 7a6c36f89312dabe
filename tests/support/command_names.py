"""Whether a command that a text names exists, with its options."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from docs.generate import commands

_PROGRAM = commands.root()
_GROUPS = frozenset(_PROGRAM.list_commands(_PROGRAM.make_context(commands.NAME, ["serve"])))

_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)  # what tests/docs/test_pages.py looks at
_WITH_NAME = re.compile(rf"(?:[`\"]|: |<code>){commands.NAME} ([a-z][^`<\"\n]*)")
_WITHOUT_NAME = re.compile(r"`([a-z][^`\n]*)`")


def named(text: str) -> Iterator[list[str]]:
    """The words of each command that a text for people names, be it without the name of the program."""
    text = _BLOCK.sub("", text)
    for match in _WITH_NAME.finditer(text):
        yield match[1].split()
    for match in _WITHOUT_NAME.finditer(text):
        words = match[1].split()
        if words[0] in _GROUPS:
            yield words


def resolve(words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command and what follows it. AssertionError where there is none."""
    command: Any = _PROGRAM
    context: Any = command.make_context(commands.NAME, ["serve"])
    rest = list(words)
    while hasattr(command, "get_command") and rest:
        name = rest.pop(0)
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name} ({' '.join(words)})"
    return command, rest


def check_named(words: Sequence[str]) -> None:
    """AssertionError unless the command exists, and takes the options that are named with it."""
    command, rest = resolve(words)
    options = [word.partition("=")[0] for word in rest if word.startswith("--")]
    known = {*commands.options_of(command), "--help"}
    assert set(options) <= known, f"{' '.join(words)}: there is no {set(options) - known}"
