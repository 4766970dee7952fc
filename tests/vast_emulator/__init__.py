"""An emulator of the VAST Database tabular protocol for tests.

It speaks HTTP to the unmodified SDK, keeps immutable Arrow tables, and can be switched to the
behaviours a real cluster may have. See ``Emulator`` and ``RemoteEmulator``.
"""

from __future__ import annotations

from .counting import Rpc, RpcLog
from .emulator import Emulator
from .faults import Fault, Faults
from .predicates import Domain, Range
from .remote import RemoteEmulator, RemoteFault, RemoteLog, emulator_process
from .switches import Switches

__all__ = [
    "Domain",
    "Emulator",
    "Fault",
    "Faults",
    "Range",
    "RemoteEmulator",
    "RemoteFault",
    "RemoteLog",
    "Rpc",
    "RpcLog",
    "Switches",
    "emulator_process",
]
