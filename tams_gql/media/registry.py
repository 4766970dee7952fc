"""The configured storage backends, and calls that span several of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from tams_gql.model.bounds import shown
from tams_gql.model.errors import BadInput, Unavailable
from tams_gql.media.port import (
    MediaBackend,
    ObjectLocation,
    ObjectStat,
    PutRequest,
    ReadMethod,
    SignedRequest,
)

T = TypeVar("T")


class MediaRegistry:
    """Several backends by id. At most one is the default; the order given is the preference."""

    def __init__(self, backends: Iterable[MediaBackend]) -> None:
        """Raises BadInput if two backends share an id or call themselves the default."""
        self._backends: dict[str, MediaBackend] = {}
        for media in backends:
            if self._backends.setdefault(media.backend.id, media) is not media:
                raise BadInput(f"two storage backends have the id {media.backend.id}")
        defaults = [media for media in self if media.backend.default]
        if len(defaults) > 1:
            labels = ", ".join(media.backend.label for media in defaults)
            raise BadInput(f"only one storage backend may be the default, not {labels}")
        self._default = defaults[0] if defaults else None
