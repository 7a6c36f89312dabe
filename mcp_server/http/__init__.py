"""The server over HTTP: MCP, webhooks, the dashboard, health, metrics and unsubscribe links."""
