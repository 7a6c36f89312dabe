"""Errors that nobody expected: what is told of one, and the line of the log that has the rest under the same id."""

import logging
from secrets import token_hex


def told(logger: logging.Logger, what: str, error: Exception) -> str:
    """Logs that `what` failed, without a word of the error, which may hold personal data. Returns what its caller is
    told."""
    fault = _noted(logger, what, error)
    return (
        "This is a fault of the server, not of your call. Nothing was changed. Call again in a moment; if it stays, "
        f"tell an operator the fault {fault}, which the server's log holds."
    )


def kept(logger: logging.Logger, what: str, error: Exception) -> str:
    """Logs as `told` does. Returns the reason that is kept with what failed, which may have been done in part."""
    fault = _noted(logger, what, error)
    return f"Internal error: {type(error).__name__}. The server's log has it as the fault {fault}."


def _noted(logger: logging.Logger, what: str, error: Exception) -> str:
    fault = token_hex(4)
    logger.error("%s failed", what, extra={"fault": fault, "error": type(error).__name__})
    return fault
