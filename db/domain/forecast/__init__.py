"""The forecast: what claims will hand out in the next days, found by the rules of the claims on a copy of the counts.

Pure. `db.services.dispatch.forecast` reads what it begins with.
"""

from db.domain.forecast.conversations import Conversations
from db.domain.forecast.days import Day, Forecast, Wanted
from db.domain.forecast.people import Waiting
from db.domain.forecast.simulation import BEYOND, simulate

__all__ = ["BEYOND", "Conversations", "Day", "Forecast", "Waiting", "Wanted", "simulate"]
