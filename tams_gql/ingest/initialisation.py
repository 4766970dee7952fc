"""Initialisation segments: each stored once for a flow and then referred to (app note 0024)."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from tams_gql.ingest.api import Catalog
from tams_gql.ingest.mux import WrittenSegment
from tams_gql.ingest.upload import send_one
from tams_gql.model.errors import TamsError

_VIDEO: Final = "video/mp4"
_AUDIO: Final = "audio/mp4"


class Initialisations:
    """Object ids of the initialisation segments of a run's flows."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._ids: dict[tuple[str, bytes], str] = {}
        self._asked: set[str] = set()

    def object_id(self, flow_id: str, content: bytes, *, audio: bool) -> str:
        """The object with ``content``, uploaded unless the flow's last segment uses it already."""
        key = (flow_id, content)
        if flow_id not in self._asked:
            self._asked.add(flow_id)
            self._recall(flow_id)
        if key not in self._ids:
            content_type = _AUDIO if audio else _VIDEO
            self._ids[key] = self._store(flow_id, content, content_type)
        return self._ids[key]

    def _store(self, flow_id: str, content: bytes, content_type: str) -> str:
        with NamedTemporaryFile(prefix="tams-init-") as file:
            file.write(content)
            file.flush()
            written = WrittenSegment(Path(file.name), 0, len(content))
            return send_one(self._catalog, flow_id, written, content_type)

    def _recall(self, flow_id: str) -> None:
        latest = self._catalog.latest_init_object(flow_id)
        if latest is None or latest.url is None:
            return
        try:
            content = self._catalog.transport.get(latest.url)
        except TamsError:
            return  # unreadable: a new one does as well
        self._ids[flow_id, content] = latest.id
