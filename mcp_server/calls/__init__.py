"""How a function becomes a tool, and a call becomes an answer."""
