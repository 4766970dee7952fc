"""Everything that the documents ask a reader to do works, in their order, with a real server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.catalog import quick_settings, serving
from tests.document_catalogs import (
    Fill,
    camera_goes_on,
    channel_goes_on,
    demo,
    flow_id,
    match_day,
    nothing,
    source_id,
)
from tests.document_reader import reading
from tests.documents import examples, steps

CAMERA = "4160fa0d-7918-4f59-bbd6-5017cd9c741f"


@dataclass(frozen=True)
class Document:
    """``before`` is there when the reader begins, ``later`` happens when the reader is through.

    ``answers`` are those that the document does not print itself.
    """

    path: str
    before: Fill
    later: Fill
    answers: Mapping[str, object]


def _flow(**fields: object) -> dict[str, object]:
    return {"flow": {**fields, "…": "…"}}


def _timeline(label: str, *segments: object) -> dict[str, object]:
    return {"id": "…", "label": label, "segments": {"nodes": list(segments)}}


README = Document(
    "README.md",
    demo,
    channel_goes_on,
    {
        "Catalog": {
            "sources": {
                "nodes": [
                    {
                        "id": source_id(2),
                        "label": "Demo live channel",
                        "format": "VIDEO",
                        "flows": {"nodes": [{"timerange": "[17…:0_17…:0)", "tags": [], "…": "…"}]},
                    },
                    {
                        "id": source_id(1),
                        "label": "Demo programme, video",
                        "format": "VIDEO",
                        "flows": {
                            "nodes": [
                                {
                                    "id": flow_id(1),
                                    "label": "Demo programme, video",
                                    "codec": "video/h264",
                                    "timerange": "[0:0_60:0)",
                                    "tags": [{"name": "genre", "values": ["test card"]}],
                                }
                            ]
                        },
                    },
                ]
            }
        },
        "Timeline": {
            "flows": {
                "nodes": [
                    _timeline("Demo live channel"),
                    _timeline(
                        "Demo programme, video",
                        *(
                            {
                                "timerange": f"[{start}:0_{start + 2}:0)",
                                "objectId": "…",
                                "getUrls": [
                                    {"label": "local", "url": "http://127.0.0.1:8000/media/…"}
                                ],
                            }
                            for start in range(0, 10, 2)
                        ),
                    ),
                ]
            }
        },
        "Live": {
            "segmentsAdded": {
                "cursor": "…",
                "flow": {"id": flow_id(2), "label": "Demo live channel"},
                "segments": [{"timerange": "[17…:0_17…:0)", "objectId": "…"}],
            }
        },
    },
)

API = Document(
    "docs/graphql.md",
    nothing,
    camera_goes_on,
    {
        "About": {
            "service": {
                "name": "tams-gql",
                "apiVersion": "8.2",
                "minObjectTimeout": "600:0",
                "storageBackends": [{"id": "…", "label": "local", "default": True}],
                "…": "…",
            }
        },
        "CreateFlow": {
            "putFlow": {
                "created": True,
                "event": "…",
                "flow": {
                    "id": CAMERA,
                    "version": 1,
                    "format": "VIDEO",
                    "source": {"id": "e7d40c3f-f454-4737-b9b5-533e32eb3b27", "label": "Camera 1"},
                },
            }
        },
        "RegisterOne": {
            "registerSegments": {
                "registeredCount": 1,
                "event": "…",
                "results": [
                    {
                        "index": 0,
                        "segment": {"id": "…", "timerange": "[0:0_10:0)"},
                        "error": None,
                    }
                ],
            }
        },
        "ById": {"nodes": [{"__typename": "VideoFlow", "id": CAMERA, "…": "…"}, None]},
        "Page": {
            "flows": {
                "totalCount": 1,
                "nodes": [{"id": CAMERA, "label": "Camera 1"}],
                "pageInfo": {"hasNextPage": False, "endCursor": "…"},
            }
        },
        "Window": {
            "flow": {
                "timerange": "[0:0_10:0)",
                "inWindow": "[0:0_10:0)",
                "segments": {
                    "nodes": [
                        {
                            "timerange": "[0:0_10:0)",
                            "tsOffset": "0:0",
                            "objectTimerange": "[0:0_10:0)",
                        }
                    ]
                },
            }
        },
        "Filtered": {"flows": {"nodes": [{"id": CAMERA, "…": "…"}]}},
        "Urls": _flow(
            segments={
                "nodes": [
                    {
                        "timerange": "[0:0_10:0)",
                        "getUrls": [{"label": "local", "url": "…/media/…", "controlled": True}],
                        "object": {"contentType": "video/mp2t", "…": "…"},
                    }
                ]
            }
        ),
        "Covered": _flow(
            segmentAt={"objectId": "camera-1/part-1", "timerange": "[0:0_10:0)"},
            coverage={
                "ranges": ["[0:0_10:0)"],
                "gaps": ["[10:0_60:0)"],
                "duration": "10:0",
                "segmentCount": 1,
                "…": "…",
            },
        ),
        "Rename": {
            "patchFlow": {
                "event": "…",
                "flow": {
                    "version": 2,
                    "label": "Camera 1, wide",
                    "description": None,
                    "status": "INGESTING",
                },
            }
        },
        "FlowFromProfile": {
            "putFlow": {
                "created": True,
                "flow": {
                    "format": "AUDIO",
                    "codec": "audio/aac",
                    "profile": {"label": "AAC stereo in MPEG-TS"},
                },
            }
        },
        "RegisterMany": {
            "registerSegments": {
                "registeredCount": 1,
                "results": [
                    {"index": 0, "segment": {"id": "…"}, "error": None},
                    {"index": 1, "segment": None, "error": {"code": "CONFLICT", "…": "…"}},
                ],
            }
        },
        "ReuseObject": {
            "registerSegments": {
                "registeredCount": 1,
                "event": "…",
                "results": [{"error": None}],
            }
        },
        "DeletePart": {"deleteSegments": {"deletedCount": 1, "event": "…"}},
        "Follow": {
            "segmentsAdded": {
                "cursor": "…",
                "created": "…",
                "flow": {"id": CAMERA, "label": "Camera 1, wide"},
                "segments": [
                    {
                        "id": "…",
                        "timerange": "[100:0_110:0)",
                        "getUrls": [{"url": "https://media.example.com/1.ts"}],
                    }
                ],
            }
        },
    },
)

BY_EXAMPLE = Document("docs/graphql-by-example.md", match_day, nothing, {})


@pytest.mark.parametrize(
    "document", [README, API, BY_EXAMPLE], ids=lambda document: str(document.path)
)
async def test_a_document_can_be_followed(document: Document, tmp_path: Path) -> None:
    async with serving(quick_settings(tmp_path)) as catalog:
        await document.before(catalog)
        async with reading(catalog) as reader:
            await reader.follow(steps(document.path))
            await document.later(catalog)
            await reader.hear()
    assert reader.answers.keys() == {example.name for example in examples(document.path)}
    for name, wanted in document.answers.items():
        assert reader.differing(name, wanted) == [], (name, reader.answers[name])
