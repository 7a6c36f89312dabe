"""What any store must do. Subclass a contract and give its fixtures an empty store; pytest runs the rest.

Time is an argument of every call, so these tests move it by hand and never wait.
"""

from .cache import CacheStoreContract
from .ends import EndContract
from .leases import LeaseContract
from .records import RecordContract
from .refusals import RefusalContract
from .turns import TurnContract

__all__ = ["CacheStoreContract", "JobStoreContract"]


class JobStoreContract(TurnContract, LeaseContract, EndContract, RecordContract, RefusalContract):
    """Everything a JobStore must do; override `jobs`."""
