"""Steps at which claims stop for somebody until a person has done something: texts that lack a variable, emails to
nobody's address, words that nobody has approved. For whole campaigns at once, as a forecast needs it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import CONTACT_TEXTS
from db.domain.drafts import Approval, DraftStatus
from db.domain.errors import InvalidInput
from db.domain.forecast import Waiting
from db.domain.scheduling import Plan, Step
from db.domain.states import Channel
from db.postgres.json import rows_parameter
from db.services.campaigns.step_texts import UNSUBSCRIBE_URL, Source, Texts, campaign_variables
from db.services.state import draft_rows
from db.services.texts import liquid

_Path: TypeAlias = tuple[str, ...]
_ADDRESS: Final[_Path] = ("email",)


class _Variant(NamedTuple):
    """One text of a step."""

    step_number: int
    variant: str | None


@dataclass(slots=True)
class Stops:
    """everybody: campaign -> the texts that nobody gets. needing: campaign -> what a text needs of a person -> the
    texts. lacking: enrollment -> what the person lacks. unapproved: campaign -> the texts that a person approves;
    approved: enrollment -> the steps whose words are. addressed: to whom something was said before."""

    everybody: Mapping[UUID, Sequence[_Variant]]
    needing: Mapping[UUID, Mapping[_Path, Sequence[_Variant]]]
    lacking: Mapping[UUID, Sequence[_Path]]
    plans: Mapping[UUID, Plan]
    asking: Mapping[UUID, Sequence[int]] = field(default_factory=dict[UUID, Sequence[int]])
    approved: Mapping[UUID, set[int]] = field(default_factory=dict[UUID, set[int]])
    addressed: set[UUID] = field(default_factory=set[UUID])

    def of(self, person: Waiting) -> frozenset[int]:
        """Returns the numbers of the steps at which the person stops."""
        texts = [*self.everybody.get(person.campaign_id, ())]
        for path in self.lacking.get(person.id, ()):
            texts += self.needing[person.campaign_id].get(path, ())
        stopped = {one.step_number for one in texts if one.variant in (None, person.a_b_variant)}
        return frozenset(stopped | self._unapproved(person))

    def _unapproved(self, person: Waiting) -> set[int]:
        asked = [number for number in self.asking.get(person.campaign_id, ()) if number > person.current_step]
        if self.plans[person.campaign_id].sending.approval is Approval.FIRST_STEP:
            asked = [] if person.id in self.addressed else asked[:1]
        return set(asked) - self.approved.get(person.id, set())


def read(
    session: Session, *, plans: Mapping[UUID, Plan], people: Sequence[Waiting], until: datetime, public_url: str | None
) -> Stops:
    """Returns at which steps the people of these campaigns stop who are due until then."""
    texts = Texts.of_campaigns(session, plans, public_url)
    everybody: defaultdict[UUID, list[_Variant]] = defaultdict(list)
    needing: defaultdict[UUID, defaultdict[_Path, list[_Variant]]] = defaultdict(lambda: defaultdict(list))
    for id_, plan in plans.items():
        for step in plan.steps:
            one = _Variant(step.step_number, step.a_b_variant)
            paths = _needed(texts, id_, step)
            if paths is None:
                everybody[id_].append(one)
            for path in paths or ():
                needing[id_][path].append(one)
    found = Stops(everybody, needing, _lacking(session, needing, until), plans)
    _read_approvals(session, found, texts, people)
    return found


def _needed(texts: Texts, campaign_id: UUID, step: Step) -> set[_Path] | None:
    """Returns what a step needs of a person; None if it goes out to nobody."""
    source = texts.source(campaign_id, step)
    words = [part for part in (source.subject, source.body) if part]
    campaign = campaign_variables(texts.campaigns[campaign_id])
    has_link = step.channel is Channel.EMAIL and texts.links is not None

    def has(path: _Path) -> bool:
        if path[0] == "campaign":
            return len(path) == 1 or path[1] in campaign
        return path[0] in (*CONTACT_TEXTS, "attributes") or (path[0] == UNSUBSCRIBE_URL and has_link)

    needed: set[_Path] = {_ADDRESS} if step.channel is Channel.EMAIL else set()
    for part in words:
        try:
            found = liquid.needed(part, f"step {step.step_number}", has)
        except InvalidInput:
            return None
        if found is None:
            return None
        needed |= {path for path in found if path[0] in (*CONTACT_TEXTS, "attributes")}
    return needed


# The person as JSON, once for all that is asked of them.
_LACKING = text(r"""
    SELECT e.id, array_agg(p.n)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS p(n int, campaign uuid, path text[])
    JOIN campaign_enrollments e ON e.instance_id = p.campaign
    JOIN contacts c ON c.id = e.contact_id
    CROSS JOIN LATERAL (SELECT to_jsonb(c) AS known OFFSET 0) person
    WHERE (e.status = 'active' OR e.paused_until IS NOT NULL) AND e.next_action_at < :until
      AND coalesce(person.known #>> p.path, '') !~ '\S'
    GROUP BY e.id
""")


def _lacking(
    session: Session, needing: Mapping[UUID, Mapping[_Path, Sequence[_Variant]]], until: datetime
) -> dict[UUID, list[_Path]]:
    """Returns enrollment -> what its person lacks."""
    asked = [(id_, path) for id_, paths in needing.items() for path in paths]
    rows = [{"n": n, "campaign": id_, "path": path} for n, (id_, path) in enumerate(asked)]
    found = session.execute(_LACKING, {**rows_parameter(rows), "until": until}) if rows else ()
    return {id_: [asked[n][1] for n in numbers] for id_, numbers in found}


_APPROVED = text(f"""
    SELECT enrollment_id, step_number FROM action_drafts
    WHERE instance_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND status = '{DraftStatus.APPROVED}' AND decided_by IS NOT NULL
""")


def _read_approvals(session: Session, found: Stops, texts: Texts, people: Sequence[Waiting]) -> None:
    """Reads what campaigns ask a person about, and what was approved."""
    asking = {id_: plan for id_, plan in found.plans.items() if plan.sending.approval is not Approval.NONE}
    if not asking:
        return
    found.asking = {
        id_: sorted({step.step_number for step in plan.steps if _says(texts.source(id_, step))})
        for id_, plan in asking.items()
    }
    approved: defaultdict[UUID, set[int]] = defaultdict(set)
    for enrollment_id, number in session.execute(_APPROVED, rows_parameter(list(asking))):
        approved[enrollment_id].add(number)
    found.approved = approved
    firsts = [
        (person.campaign_id, person.id, person.current_step + 1)
        for person in people
        if person.campaign_id in asking
        and asking[person.campaign_id].sending.approval is Approval.FIRST_STEP
        and person.current_step > 0
    ]
    found.addressed = draft_rows.addressed(session, steps=firsts)


def _says(source: Source) -> bool:
    return source.body is not None
