"""Media objects: the files that segments point into, and where copies of them lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tams_gql.model.bounds import MAX_NAME_CHARS, bad_input, check_text, dotted, refuse
from tams_gql.model.url import parse_http_url

MAX_GET_URLS: Final = 32


@dataclass(frozen=True, slots=True)
class ExternalUrl:
    """A copy of an object outside our storage ("uncontrolled"), told apart by its label."""

    url: str
    label: str


def parse_external_url(value: object, *, field: str) -> ExternalUrl:
    """A URL with its label, both required (schemas ``flow-segment-post``, ``objects-instances``).

    Other keys are ignored: a client may send back an entry of ``get_urls`` as it got it.
    """
    if not isinstance(value, Mapping):
        refuse(field, value, "an object with url and label")
    for key in ("url", "label"):
        if value.get(key) is None:
            raise bad_input(dotted(field, key), "is required")
    return ExternalUrl(
        parse_http_url(value["url"], field=dotted(field, "url")),
        check_text(value["label"], dotted(field, "label"), min_chars=1, max_chars=MAX_NAME_CHARS),
    )


def parse_external_urls(value: object, *, field: str) -> tuple[ExternalUrl, ...]:
    """At most 32 URLs of one object; no label may appear twice."""
    if not isinstance(value, list | tuple):
        refuse(field, value, "a list of objects with url and label")
    if len(value) > MAX_GET_URLS:
        raise bad_input(field, f"{len(value)} URLs; at most {MAX_GET_URLS}")
    urls: dict[str, ExternalUrl] = {}
    for index, item in enumerate(value):
        url = parse_external_url(item, field=dotted(field, index))
        if url.label in urls:
            refuse(dotted(field, index, "label"), url.label, "each label once in the list")
        urls[url.label] = url
    return tuple(urls.values())
