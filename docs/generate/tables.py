"""The tables that are written from the code: settings, metrics, events, commands, webhooks, prompts and resources."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

from db.domain.events import EFFECTS, IMPLIES, Effect, EventType
from db.domain.metrics import MEANINGS, MILESTONES, RATES
from db.models.base import Base
from docs.generate.regions import table
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.http.metrics import READINGS
from mcp_server.offers.prompts.base import Prompt
from mcp_server.offers.prompts.catalogue import PROMPTS
from mcp_server.offers.resources.catalogue import RESOURCES
from mcp_server.process.settings import Settings, variable
from mcp_server.process.telemetry import PREFIX, CallOutcome, LabelledCounter, Telemetry
from mcp_server.webhooks.providers import providers

GROUPS: Mapping[str, tuple[str, ...]] = {
    "The database": ("database_", "migrate", "pool_", "statement_", "lock_", "slow_", "start_"),
    "This machine": ("home", "local_", "worker", "import_", "log_"),
    "What is offered": ("toolsets", "read_only"),
    "HTTP": ("token", "allowed_", "rate_", "failed_auth_", "unsubscribe_", "public_"),
    "Webhooks": ("webhook_",),
    "How long things are kept": ("orphan_", "idempotency_", "job_", "audit_"),
}
"""Heading -> how the names of its settings start. What starts otherwise stands under the last heading of the page."""


def settings() -> str:
    """Every setting, by what it is about."""
    known = {name for starts in GROUPS.values() for name in Settings.model_fields if name.startswith(starts)}
    parts = [_group(heading, [n for n in Settings.model_fields if n.startswith(s)]) for heading, s in GROUPS.items()]
    others = [name for name in Settings.model_fields if name not in known]
    return "\n".join([*parts, *([_group("Others", others)] if others else [])])


def _group(heading: str, names: list[str]) -> str:
    rows = (_setting(name, Settings.model_fields[name]) for name in names)
    return f"## {heading}\n\n{table(('variable', 'default', 'meaning'), rows)}"


def _setting(name: str, field: FieldInfo) -> tuple[str, str, str]:
    limits = [_limit(part) for part in field.metadata]
    said = " ".join([field.description or "", f"({', '.join(filter(None, limits))})" if any(limits) else ""])
    return f"`{variable(name)}`", _default(name, field), said.strip()


def _default(name: str, field: FieldInfo) -> str:
    if name == "home":
        return "`.sales-automation` in the user's data directory"
    default: object = field.default
    if default is PydanticUndefined or default is None:
        return "unset"
    if isinstance(default, list):
        return "`[]`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _limit(constraint: object) -> str:
    if isinstance(constraint, Ge):
        return f"at least {constraint.ge:,}"
    if isinstance(constraint, Gt):
        return f"more than {constraint.gt:,}"
    return f"at most {constraint.le:,}" if isinstance(constraint, Le) else ""


def counters() -> str:
    """What is counted, and what each implies."""
    implied = {str(milestone): ", ".join(f"`{imply}`" for imply in IMPLIES[milestone]) for milestone in MILESTONES}
    rows = ((f"`{slug}`", meaning, implied.get(slug, "")) for slug, meaning in MEANINGS.items())
    return table(("counter", "meaning", "implies"), rows)


def rates() -> str:
    """The rates, as they are declared."""
    rows = (
        (
            f"`{rate.slug}`",
            f"`{rate.numerator}`",
            ", ".join(f"`{whole}` ({channel})" for channel, whole in rate.denominators.items()),
            rate.meaning,
            rate.better,
        )
        for rate in RATES
    )
    return table(("rate", "numerator", "denominator", "meaning", "better"), rows)


def events() -> str:
    """What each event does."""
    rows = ((f"`{kind}`", str(effect.channel), _counted(effect), _stopped(kind, effect)) for kind, effect in _EFFECTS)
    return table(("event", "channel", "counts as", "the enrollment"), rows)


_EFFECTS = tuple(EFFECTS.items())


def _counted(effect: Effect) -> str:
    return ", ".join(f"`{part}`" for part in (effect.milestone, effect.total) if part is not None) or "nothing"


def _stopped(kind: EventType, effect: Effect) -> str:
    if effect.stop is None:
        return "goes on"
    hard = " (hard; a soft bounce ends nothing)" if kind is EventType.BOUNCED else ""
    return f"ends: `{effect.stop.reason}`{hard}"


def prometheus() -> str:
    """What /metrics shows, but for the process itself."""
    read = (
        (f"{PREFIX}_{reading.name}", reading.family(reading.name, "").type, reading.labels, reading.meaning)
        for reading in READINGS
    )
    rows = (
        (
            f"`{name}{'_total' if kind == 'counter' else ''}`",
            kind,
            ", ".join(f"`{label}`" for label in labels),
            meaning,
        )
        for name, kind, labels, meaning in [*read, *_counted_by_us()]
    )
    return table(("metric", "type", "labels", "meaning"), rows)


def _counted_by_us() -> Iterator[tuple[str, str, Sequence[str], str]]:
    """What Telemetry counts: (name, type, labels, meaning). Labels show once something was counted."""
    telemetry = Telemetry()
    for tally in vars(telemetry).values():
        if isinstance(tally, LabelledCounter):
            tally.add("name", "verdict")
    telemetry.add_call("tool", CallOutcome.OK, 0.0)
    for family in telemetry.registry.collect():
        labels = [label for label in family.samples[0].labels if label != "le"]
        yield family.name, family.type, labels, family.documentation


def webhooks() -> str:
    """The providers: where they post, and the setting that turns each on."""
    rows = (_provider(name) for name in providers())
    return table(("provider", "address", "secret", "what it is", "when nothing can be stored"), rows)


def _provider(name: str) -> tuple[str, ...]:
    field = Settings.model_fields[f"webhook_{name}"]
    link = f"[{name}](#{name})"
    busy = f"{providers()[name].busy_status}"
    return link, f"`/webhooks/{name}`", f"`{variable(f'webhook_{name}')}`", field.description or "", busy


def prompts() -> str:
    """The prompts with their arguments, and where they are on."""
    rows = ((f"`{prompt.name}`", prompt.description, _asked(prompt), _where_prompt(prompt.name)) for prompt in PROMPTS)
    return table(("prompt", "what it leads through", "arguments", "on with"), rows)


def _asked(prompt: Prompt) -> str:
    return "; ".join(
        f"`{argument.name}`{'' if argument.required else ' (optional)'}: {argument.description.rstrip('.')}"
        for argument in prompt.arguments
    )


def _where_prompt(name: str) -> str:
    for toolset in TOOLSETS:
        if name in toolset.prompts(read_only=False):
            always = name in toolset.prompts(read_only=True)
            return toolset.name + ("" if always else ", unless read-only")
    return "no toolset"


def resources() -> str:
    """The resources, and where they are on."""
    rows = (
        (f"`{resource.uri_template}`", resource.description, ", ".join(_where_resource(resource.noun)))
        for resource in RESOURCES
    )
    return table(("resource", "what it shows", "on with"), rows)


def _where_resource(noun: str) -> Iterator[str]:
    return (toolset.name for toolset in TOOLSETS if noun in toolset.resources)


def schema() -> str:
    """The tables of the database and what refers to what, as a diagram. Columns are those of keys."""
    tables = sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    lines = [f"    {one} ||--o{{ {many} : {column}" for many, one, column in _references(tables)]
    for table_ in tables:
        keys = "".join(f"        {_type(column)} {column.name} PK\n" for column in table_.primary_key)
        lines.append(f"    {table_.name} {{\n{keys}    }}")
    return "```mermaid\nerDiagram\n" + "\n".join(lines) + "\n```\n"


def _references(tables: Sequence[Table]) -> list[tuple[str, str, str]]:
    """(table, what it refers to, the last column by which it does), each pair once."""
    found: dict[tuple[str, str], str] = {}
    for table_ in tables:
        for constraint in sorted(table_.foreign_key_constraints, key=lambda constraint: str(constraint.name)):
            found.setdefault((table_.name, constraint.referred_table.name), list(constraint.columns)[-1].name)
    return [(many, one, column) for (many, one), column in found.items()]


def _type(column: Column[Any]) -> str:
    return column.type.compile(postgresql.dialect()).split("(")[0].replace(" ", "_").lower()
