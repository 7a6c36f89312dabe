"""The jobs that the server runs itself. Agents claim all other types."""
