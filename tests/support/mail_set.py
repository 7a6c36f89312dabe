"""The labelled mails: invented answers to outreach, in seven languages, by somebody who did not write the rules."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SETS = Path(__file__).parent.parent / "mail" / "set"


class Labelled(NamedTuple):
    """A mail and what it is. `label` has file, kind, until, text and more; docs/mail-rules.md describes the set."""

    raw: bytes
    label: dict[str, Any]


def labelled(name: str) -> Iterator[Labelled]:
    """The mails of `seen` or `unseen`."""
    with zipfile.ZipFile(SETS / f"{name}.zip") as packed:
        for line in packed.read("labels.jsonl").decode().splitlines():
            label = json.loads(line)
            yield Labelled(packed.read(f"mails/{label['file']}"), label)


def squeezed(text: str) -> str:
    """The text modulo white space: programs wrap lines as they like."""
    return " ".join(text.split())


def is_text(text: str, label: dict[str, Any]) -> bool:
    """Whether that is what the person wrote, with or without the greeting at its end."""
    ways = (label["text"], label.get("text_with_closing") or label["text"])
    return squeezed(text) in [squeezed(way) for way in ways]


def is_until(until: str | None, label: dict[str, Any]) -> bool:
    """Whether that is the day of return, or another that can be read from the mail."""
    return until in (label["until"], *(label.get("until_alternatives") or ()))
