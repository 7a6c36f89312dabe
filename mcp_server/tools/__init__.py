"""The tools, one module per noun; each fills its toolset of mcp_server.calls.toolsets when it is imported."""
