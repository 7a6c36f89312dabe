"""The toolsets, and what is said of each at `initialize`. A new noun is a module in tools/ and a line here."""

from db.domain.access import Scope
from mcp_server.calls.call import Mode
from mcp_server.calls.toolset import Toolset

campaigns = Toolset(
    "campaigns",
    "templates of email and LinkedIn steps, and the campaigns made of them",
    writing_prompts=["plan_campaign"],
    resources=["campaign", "template"],
)
contacts = Toolset(
    "contacts",
    "people, their enrollments in campaigns, and the addresses not to write to",
    more=["suppressions", "imports"],
    resources=["enrollment"],
)
actions = Toolset(
    "actions",
    "the steps that fall due, handed out under a lease",
    writing_prompts=["work_due_actions"],
    views=["explain_due"],
)
events = Toolset("events", "what happened: sends, opens, replies, bounces, unsubscribes")
webhooks = Toolset("webhooks", "the requests of providers, and events that fit nobody")
mail = Toolset(
    "mail",
    "the mailboxes that send and read, and the conversations in them",
    more=["threads"],
    prompts=["triage_replies"],
)
consent = Toolset("consent", "the words of steps, which a person approves before they go out")
metrics = Toolset(
    "metrics", "the funnel of a campaign in counts and rates", prompts=["weekly_report"], views=["get_metrics"]
)
jobs = Toolset("jobs", "a queue of jobs with leases, for agents that work side by side", mode=Mode.LOCAL)
cache = Toolset("cache", "values that expire, such as look-ups that cost money", mode=Mode.LOCAL)
ops = Toolset("ops", "the health and upkeep of this system, and who wrote what", more=["mail"], scope=Scope.OPS)

TOOLSETS: tuple[Toolset, ...] = (
    campaigns,
    contacts,
    actions,
    events,
    webhooks,
    mail,
    consent,
    metrics,
    jobs,
    cache,
    ops,
)

PRESETS: dict[str, tuple[Toolset, ...]] = {
    "all": TOOLSETS,
    # Who runs campaigns needs no requests of providers, job queue, cache or maintenance; without them a model reads
    # 31 % less.
    "outreach": (campaigns, contacts, actions, events, mail, consent, metrics),
}


def select(names: str) -> list[Toolset]:
    """Returns the toolsets of a comma-separated list of toolsets and presets. ValueError names what there is."""
    known = {**{toolset.name: (toolset,) for toolset in TOOLSETS}, **PRESETS}
    wanted = [name.strip() for name in names.split(",") if name.strip()] or ["all"]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        one_by_one = ", ".join(toolset.name for toolset in TOOLSETS)
        raise ValueError(f"No toolset {', '.join(unknown)}. There are: {one_by_one}; or {' or '.join(PRESETS)}.")
    chosen = {toolset.name for name in wanted for toolset in known[name]}
    return [toolset for toolset in TOOLSETS if toolset.name in chosen]
