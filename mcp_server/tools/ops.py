"""Health and upkeep."""

from mcp_server.maintenance import maintain
from mcp_server.schemas.ops import MaintenanceAnswer
from mcp_server.toolset import Call
from mcp_server.toolsets import ops


@ops.write("Run maintenance", idempotent=True, keeps_nothing=True)
def run_maintenance(call: Call) -> MaintenanceAnswer:
    """Match events that waited for their enrollment, give up on old ones, and forget old answers and finished jobs.

    The server does this by itself once an hour; call it to have it done now. warning names what is unusual. Next:
    list_orphaned_events.
    """
    return MaintenanceAnswer.model_validate(maintain(call.app))
