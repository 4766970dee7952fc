"""The contract of a media storage backend. Every backend passes ``tests/media/test_contract.py``.

A backend chooses keys, signs URLs without any I/O, and answers what is stored. Clients move the
bytes themselves: they PUT and GET on signed URLs and the catalog never sees the media.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, NamedTuple, Protocol

from tams_gql.model.bounds import shown
from tams_gql.model.errors import BadInput

ReadMethod = Literal["GET", "HEAD"]
CopyProgress = Callable[[int, int | None], None]
"""Told now and then how many bytes have been copied, and of how many; None if nobody knows."""

# Signature version 4 of S3 allows no more, and one bound for all backends keeps them alike.
MAX_EXPIRES_IN: Final = 7 * 24 * 60 * 60
MAX_CONTENT_TYPE_CHARS: Final = 255

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
# Type and subtype are tokens (RFC 9110, section 8.3.1); parameters are left out as TAMS does
# (schemas/mime-type.json).
_TOKEN = r"[0-9A-Za-z!#$%&'*+.^_`|~-]+"  # noqa: S105 (a token of HTTP, not a secret)
_CONTENT_TYPE = re.compile(f"{_TOKEN}/{_TOKEN}")


@dataclass(frozen=True, slots=True)
class StorageBackend:
    """What clients are told about a backend (schemas/storage-backend.json).

    ``id`` is a lower-case UUID that must stay the same for as long as objects live there.
    ``presigned`` says whether the URLs carry their own authorisation.
    """

    id: str
    label: str
    provider: str | None = None
    region: str | None = None
    availability_zone: str | None = None
    store_product: str | None = None
    tags: Mapping[str, str | Sequence[str]] = field(default_factory=dict, hash=False)
    default: bool = False
    presigned: bool = True
    store_type: Literal["http_object_store"] = "http_object_store"

    def __post_init__(self) -> None:
        if not _UUID.fullmatch(self.id):
            raise BadInput(f"storage backend id {shown(self.id)} is not a lower-case UUID")


class ObjectLocation(NamedTuple):
    """Where one instance of an object lives."""

    storage_id: str
    key: str


class PutRequest(NamedTuple):
    """A key to be written, and the only content type it may be written with."""

    key: str
    content_type: str


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that a client may send until ``expires_at``, with exactly these headers."""

    url: str = field(repr=False)  # whoever sees the URL may use it
    headers: tuple[tuple[str, str], ...]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """What a backend knows about a stored object. ``size`` is in bytes.

    ``etag`` changes whenever the bytes change; it is bare, without the quotes of HTTP.
    ``checksums`` are those the backend keeps of the whole object (application note 0021): the
    digest in base64 by algorithm, such as ``sha256`` or ``crc32``. Which ones, if any, depends on
    the backend and on the upload.
    """

    size: int
    content_type: str | None
    etag: str
    modified: datetime
    checksums: Mapping[str, str] = field(default_factory=dict, hash=False)


class ListedObject(NamedTuple):
    """One object found by going through a backend. ``size`` is in bytes."""

    key: str
    size: int
    modified: datetime


class MediaBackend(Protocol):
    """One place that holds media objects."""

    @property
    def backend(self) -> StorageBackend:
        """The description clients see."""
        ...

    @property
    def signs_slowly(self) -> bool:
        """Whether ``sign_get`` computes so long that it belongs into a worker thread."""
        ...

    def new_key(self, object_id: str, *, flow_id: str, now: datetime) -> str:
        """Choose the key of a new object. Store it: it is never parsed and never derived again.

        Raises BadInput if the object id cannot be part of a key (see ``keys.check_key``).
        """
        ...

    def sign_get(
        self, keys: Sequence[str], *, expires_in: int, method: ReadMethod = "GET"
    ) -> list[str]:
        """One URL for each key, in order, valid for at least ``expires_in`` seconds. No I/O.

        A GET URL also answers HEAD where the backend can tell them apart; a HEAD URL never
        gives out the bytes. Whether the object exists is not looked at.
        Raises BadInput if ``expires_in`` is out of bounds, Unavailable without credentials.
        """
        ...

    def sign_put(self, items: Sequence[PutRequest], *, expires_in: int) -> list[SignedRequest]:
        """One upload request for each item, in order, bound to its content type. No I/O.

        Raises BadInput if a content type is malformed or ``expires_in`` is out of bounds,
        Unavailable without credentials.
        """
        ...

    async def stat(self, keys: Sequence[str]) -> list[ObjectStat | None]:
        """What is stored under each key, in order; None where nothing is.

        Raises Unavailable if the backend does not answer.
        """
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove the objects. A key that holds nothing is no error.

        Raises Unavailable if some could not be removed; calling again is safe.
        """
        ...

    async def copy_from(
        self,
        source: MediaBackend,
        source_key: str,
        key: str,
        *,
        progress: CopyProgress | None = None,
    ) -> ObjectStat:
        """Copy an object of ``source`` to ``key`` here, whole or not at all; return what is there.

        Media type and bytes are the same afterwards. ``source`` may be this or any other backend.
        Raises NotFound if ``source`` does not hold the object, Conflict if it changes meanwhile,
        and Unavailable. Calling again is safe.
        """
        ...

    async def store(
        self,
        key: str,
        blocks: AsyncGenerator[bytes, None],
        *,
        size: int | None,
        content_type: str | None,
        progress: CopyProgress | None = None,
    ) -> ObjectStat:
        """Store bytes that come through this program, whole or not at all; return what is there.

        ``size`` is how many will come, None if nobody knows. ``blocks`` is closed at the end.
        Raises LimitExceeded if they are too many, BadInput or Unavailable if they are not as many
        as said, Unavailable if the backend fails, and lets through what ``blocks`` raises.
        """
        ...

    def read(self, key: str, *, etag: str | None = None) -> AsyncIterator[bytes]:
        """The bytes of an object, in blocks of some megabytes at most.

        Only the version ``etag``, if given. Raises NotFound, Conflict if there is another version
        or the object changes meanwhile, and Unavailable. Close it if it is not read to its end.
        """
        ...

    def list_objects(self, prefix: str = "") -> AsyncIterator[ListedObject]:
        """Every object whose key begins with ``prefix``, in no particular order.

        Objects that come or go meanwhile may be missed. Raises Unavailable.
        """
        ...

    async def check(self) -> None:
        """Prove that the backend can read and write now. Raises Unavailable if it cannot."""
        ...


def check_expires_in(seconds: int) -> int:
    """``seconds`` if it is a life span that every backend can sign, else BadInput."""
    if not 1 <= seconds <= MAX_EXPIRES_IN:
        raise BadInput(
            f"expiresIn: {shown(seconds)} is not allowed; "
            f"a signed URL lives 1 to {MAX_EXPIRES_IN} seconds",
            field="expiresIn",
        )
    return seconds


def check_content_type(content_type: str) -> str:
    """``content_type`` if it is a MIME type without parameters, else BadInput."""
    if len(content_type) > MAX_CONTENT_TYPE_CHARS or not _CONTENT_TYPE.fullmatch(content_type):
        raise BadInput(
            f"content type {shown(content_type)} is not allowed; "
            "it must be a MIME type without parameters, such as video/mp2t"
        )
    return content_type
