"""Checksums of an upload, computed while it streams (TAMS application note 0021)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Final, Protocol

from tams_gql.model.errors import BadInput


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """A CRC in big-endian bytes, the form object stores write it in."""

    def __init__(self, add: Callable[[memoryview, int], int], length: int) -> None:
        """``add`` gives the CRC of more data after the CRC of what came before, 0 of nothing."""
        self._add = add
        self._length = length
        self._value = 0

    def update(self, data: bytes, /) -> None:
        view = memoryview(data)
        for at in range(0, len(view), _SLICE_BYTES):
            self._value = self._add(view[at : at + _SLICE_BYTES], self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length, "big")


# crcmod holds the interpreter while it works, some 330 MB a second: so long others may wait.
_SLICE_BYTES: Final = 256 * 1024
_CRC32C: Final = 0x1_1EDC_6F41
_CRC64NVME: Final = 0x1_AD93_D235_94C9_3659


@cache
def _reflected(polynomial: int) -> Callable[[memoryview, int], int]:
    """The CRC that starts and ends inverted, low bits first, as all of these do."""
    import crcmod  # seldom needed

    ones = (1 << (polynomial.bit_length() - 1)) - 1
    made: Callable[[memoryview, int], int] = crcmod.mkCrcFun(
        polynomial, initCrc=0, rev=True, xorOut=ones
    )
    return made


# They detect accidents in transfer, not attacks.
ALGORITHMS: Final[Mapping[str, Callable[[], _Hash]]] = {
    "crc32": partial(_Crc, zlib.crc32, 4),
    "crc32c": lambda: _Crc(_reflected(_CRC32C), 4),
    "crc64nvme": lambda: _Crc(_reflected(_CRC64NVME), 8),
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
}


class Checksums:
    """The SHA-256 of the bytes seen, and whether they match what the client declared."""

    def __init__(self, declared: Mapping[str, bytes]) -> None:
        """``declared``: raw digest by algorithm. Raises BadInput if one cannot be verified."""
        unknown = declared.keys() - ALGORITHMS.keys()
        if unknown:
            raise BadInput(
                f"checksums by {', '.join(sorted(unknown))} cannot be verified here; "
                f"there are: {', '.join(ALGORITHMS)}"
            )
        self._declared = declared
        self._sha256 = hashlib.sha256()
        self._others = {name: ALGORITHMS[name]() for name in declared if name != "sha256"}

    def update(self, block: bytes) -> None:
        """See the next bytes."""
        self._sha256.update(block)
        for other in self._others.values():
            other.update(block)

    def sha256(self) -> str:
        """The SHA-256 of everything seen, in hexadecimal."""
        return self._sha256.hexdigest()

    def check(self) -> None:
        """Raise BadInput if a declared checksum is not that of the bytes seen."""
        seen: dict[str, _Hash] = {"sha256": self._sha256, **self._others}
        for name, declared in self._declared.items():
            actual = seen[name].digest()
            if not hmac.compare_digest(declared, actual):
                raise BadInput(
                    f"the {name} checksum of the received bytes is "
                    f"{base64.b64encode(actual).decode()}, not what the request declares; "
                    "nothing was stored"
                )
