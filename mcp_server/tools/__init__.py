"""The tools, one module per noun. A new noun is a module and a line here."""

from mcp_server.tools.actions import actions
from mcp_server.tools.cache import cache
from mcp_server.tools.campaigns import campaigns
from mcp_server.tools.contacts import contacts
from mcp_server.tools.events import events
from mcp_server.tools.jobs import jobs
from mcp_server.tools.metrics import metrics
from mcp_server.toolset import Toolset

TOOLSETS: tuple[Toolset, ...] = (campaigns, contacts, actions, events, metrics, jobs, cache)
