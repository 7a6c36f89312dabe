"""What a release is made with: server.json for the registry of MCP servers, and the bundle for desktop clients."""
