"""The tools, one module per noun; each fills its toolset of mcp_server.toolsets when it is imported."""
