"""/dashboard: pages for people, of what the tools that only read answer. Its scripts and styles are in mcp_server/web.

The page itself holds no data and is given to everybody; the data is under /dashboard/api/ and /dashboard/events, for
holders of a token with the scope read, of a session that a link has opened, and for everybody where no token is needed.
"""
