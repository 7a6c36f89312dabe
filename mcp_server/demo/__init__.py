"""The demo: a campaign from start to finish through the real server, with every number checked."""
