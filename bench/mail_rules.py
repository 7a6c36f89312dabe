"""How good the mail rules are, and how fast. `python -m bench.mail_rules`

Measures the collections of ../shared where they are there, and the project's own labelled set: the half that the rules'
author saw, and the other where it is there.
"""

import csv
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from bench.measure import machine, verdict as target
from db.domain.mail import BounceKind, MailKind, Verdict
from db.domain.mail.judge import judge
from db.domain.mail.quoting import said_in
from db.mail import parse_mail
from tests.support.mail_set import SETS, Labelled, is_text, is_until, labelled

_PLACES = [folder / "shared" / "corpora" for folder in Path(__file__).resolve().parents[2:4]]
CORPORA = next((place for place in _PLACES if place.exists()), _PLACES[0])

LEFT_OUT = ("filtered", "suspend")
"""Labels of bounces that are another project's opinion, and not measured."""


class Bounce(NamedTuple):
    """A returned mail, and what it is labelled as."""

    name: str
    raw: bytes
    reasons: list[str]
    is_hard: bool


def main() -> None:
    """Print all figures."""
    print(machine())
    mails = [*_bounces(), *_sets(), *_replies()]
    if mails:
        _speed(mails)


def _bounces() -> list[bytes]:
    folder = CORPORA / "bounces"
    if not folder.exists():
        print("\nReturned mails: left out, there is no ../shared/corpora/bounces.")
        return []
    bounces = [
        bounce for bounce in _labelled_bounces(folder) if not set(bounce.reasons) & {*LEFT_OUT, "feedback", "vacation"}
    ]
    verdicts = [(bounce, judge(parse_mail(bounce.raw))) for bounce in bounces]
    hard = {
        bounce.name
        for bounce, verdict in verdicts
        if any(recipient.bounce is BounceKind.HARD for recipient in verdict.recipients)
    }
    permanent = [bounce for bounce in bounces if bounce.is_hard]
    others = [bounce for bounce in bounces if not bounce.is_hard]
    found, wrong = (sum(bounce.name in hard for bounce in some) for some in (permanent, others))
    print(f"\nReturned mails: {len(permanent)} permanent, {len(others)} others")
    target("permanent ones found as hard", found / len(permanent), ">= 0.92", met=found >= 0.92 * len(permanent))
    target("others called hard", wrong / len(others), "<= 0.05", met=wrong <= 0.05 * len(others))
    returned = sum(verdict.kind is MailKind.BOUNCE for _, verdict in verdicts)
    print(f"  known as returned mail: {returned} of {len(bounces)}")
    return [bounce.raw for bounce in bounces]


def _labelled_bounces(folder: Path) -> Iterable[Bounce]:
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in csv.DictReader((folder / "labels.tsv").read_text("utf-8").splitlines(), delimiter="\t"):
        rows[row["file"]].append(row)
    for name, labels in rows.items():
        reasons = [label["reason"] for label in labels]
        is_hard = any(label["hard"] == "true" for label in labels)
        yield Bounce(name, (folder / "mails" / name).read_bytes(), reasons, is_hard)


def _replies() -> list[bytes]:
    folder = CORPORA / "replies"
    if not folder.exists():
        print("\nAnswers with quotes: left out, there is no ../shared/corpora/replies.")
        return []
    texts = [
        (path.read_text("utf-8"), (folder / "said" / path.name).read_text("utf-8"))
        for path in sorted((folder / "mails").iterdir())
    ]
    measured = [(text, said.strip()) for text, said in texts if said.strip() and not said.lstrip().startswith(">")]
    exact = sum(said_in(text).text == said for text, said in measured)
    print(f"\nAnswers with quotes: {len(measured)}")
    target("what the person wrote, word for word", exact / len(measured), ">= 0.90", met=exact >= 0.9 * len(measured))
    return [b"\n" + text.encode() for text, _ in texts]


def _sets() -> list[bytes]:
    raws: list[bytes] = []
    for name in ("seen", "unseen"):
        if not (SETS / f"{name}.zip").exists():
            print(f"\nThe {name} half of the labelled set is not here.")
            continue
        judged = [(mail, judge(parse_mail(mail.raw))) for mail in labelled(name)]
        print(f"\nThe {name} half of the labelled set: {len(judged)} mails")
        _confusion(judged)
        _share("kind", judged, lambda mail, verdict: verdict.kind == mail.label["kind"])
        absent = [pair for pair in judged if pair[0].label["kind"] == "absence"]
        _share(
            "day of return",
            absent,
            lambda mail, verdict: is_until(verdict.until and verdict.until.isoformat(), mail.label),
        )
        typed = [pair for pair in judged if pair[0].label["text"] is not None]
        _share("what the person wrote", typed, lambda mail, verdict: is_text(verdict.text, mail.label))
        raws += [mail.raw for mail, _ in judged]
    return raws


def _share(what: str, judged: list[tuple[Labelled, Verdict]], is_right: Callable[[Labelled, Verdict], bool]) -> None:
    right = sum(is_right(mail, verdict) for mail, verdict in judged)
    print(f"  {what}: {right} of {len(judged)} ({right / len(judged):.3f})")


def _confusion(judged: list[tuple[Labelled, Verdict]]) -> None:
    counts = Counter((mail.label["kind"], verdict.kind.value) for mail, verdict in judged)
    kinds = [kind.value for kind in MailKind if kind is not MailKind.OWNER_WROTE]
    print(f"  {'label / verdict':<16}" + "".join(f"{kind:>12}" for kind in kinds))
    for label in kinds:
        print(f"  {label:<16}" + "".join(f"{counts[label, kind]:>12}" for kind in kinds))


def _speed(mails: list[bytes]) -> None:
    slowest = 0.0
    start = time.perf_counter()
    for raw in mails:
        begun = time.perf_counter()
        judge(parse_mail(raw))
        slowest = max(slowest, time.perf_counter() - begun)
    taken = time.perf_counter() - start
    print(f"\nParsed and judged: {len(mails) / taken:,.0f} mails a second; the slowest took {slowest * 1000:.0f} ms")


if __name__ == "__main__":
    main()
