"""The funnel as a table."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_COLUMNS = ("sent", "delivered", "opened", "clicked", "replied", "accepted", "bounced", "unsubscribed")
_HEADINGS = {"delivered": "deliv.", "accepted": "accept.", "unsubscribed": "unsub."}
_RATES = {
    "delivered": "delivery_rate",
    "opened": "open_rate",
    "clicked": "click_rate",
    "replied": "reply_rate",
    "accepted": "acceptance_rate",
}


def print_funnel(console: Console, by_step: dict[str, Any], by_variant: dict[str, Any]) -> None:
    """One row for the whole campaign, one a step, one a variant, with the rates under the counts that have one."""
    table = Table(title="Funnel", title_justify="left", box=box.SIMPLE, padding=(0, 0))
    table.add_column("", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(_HEADINGS.get(column, column), justify="right")
    table.add_row(*_row("all", by_step), end_section=True)
    for group in by_step["groups"]:
        table.add_row(*_row(f"step {group['key']}", group))
    table.add_section()
    for group in by_variant["groups"]:
        if group["key"]:
            table.add_row(*_row(f"variant {group['key']}", group))
    console.print(table)
    statuses = ", ".join(f"{count} {status}" for status, count in by_step["enrollment_status"].items() if count)
    console.print(f"Enrollments: {statuses}.", highlight=False)


def _row(name: str, group: dict[str, Any]) -> list[str]:
    return [name, *(_cell(column, group) for column in _COLUMNS)]


def _cell(column: str, group: dict[str, Any]) -> str:
    count = str(group["totals"][column])
    rate = group["rates"].get(_RATES.get(column, ""))
    return count if not rate else f"{count}\n{rate:.0%}"
