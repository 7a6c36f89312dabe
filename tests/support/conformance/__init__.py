"""What any store must do. Subclass a contract and give its fixtures an empty store; pytest runs the rest.

Time is an argument of every call, so these tests move it by hand and never wait.
"""

from tests.support.conformance.cache import CacheStoreContract
from tests.support.conformance.ends import EndContract
from tests.support.conformance.leases import LeaseContract
from tests.support.conformance.records import RecordContract
from tests.support.conformance.refusals import RefusalContract
from tests.support.conformance.turns import TurnContract

__all__ = ["CacheStoreContract", "JobStoreContract"]


class JobStoreContract(TurnContract, LeaseContract, EndContract, RecordContract, RefusalContract):
    """Everything a JobStore must do; override `jobs`."""
