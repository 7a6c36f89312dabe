"""What hosts of MCP Apps show beside the answers of tools: one HTML document each. toolsets.py says which have one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """The view of the tool of this name, whose code is the module of that name. title: its heading."""

    tool: str
    title: str


VIEWS = (View("get_metrics", "Metrics of the campaign"), View("explain_due", "What is due"))


def address(tool: str) -> str:
    """Returns where hosts read the view of a tool."""
    return f"ui://sales-automation/{tool}"
