"""The MCP server: everything that speaks MCP or HTTP."""

import os

__version__ = "0.1.0"

# Read by pydantic when it is first imported: an error for a model to read needs no link to a manual.
os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
