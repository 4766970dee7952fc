"""Tags: free names with one value or a list of values (schema ``tags``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import orjson

from tams_gql.model.bounds import bad_input, check_text, dotted, is_storable, refuse, shown

Tags: TypeAlias = Mapping[str, str | tuple[str, ...]]
"""Tags as immutable values."""

TagsJson: TypeAlias = dict[str, str | list[str]]
"""Tags as JSON has them: a string and a list of one string are different."""

MAX_TAGS: Final = 64
MAX_TAG_NAME_CHARS: Final = 128
MAX_TAG_VALUE_CHARS: Final = 1_024
MAX_TAG_VALUES: Final = 32
MAX_TAGS_BYTES: Final = 64 * 1024
"""All tags of one resource as compact JSON: they are one cell of a table."""


def parse_tags(value: object, *, field: str) -> TagsJson:
    """A copy of ``value`` with its order kept, and strings kept apart from lists.

    Raises ``BadInput`` that names the tag when there are more than 64 tags, more than 32 values
    in a list, a name outside 1 to 128 characters, a value over 1,024 characters, or more than
    64 KiB in all.
    """
    if not isinstance(value, Mapping):
        refuse(field, value, "an object of tag names, each with a string or a list of strings")
    if len(value) > MAX_TAGS:
        raise bad_input(field, f"{len(value)} tags; at most {MAX_TAGS}")
    tags = {
        _tag_name(name, field): parse_tag_value(item, field=f"{field}.{name}")
        for name, item in value.items()
    }
    size = len(orjson.dumps(tags))
    if size > MAX_TAGS_BYTES:
        raise bad_input(field, f"the tags have {size} bytes as JSON; at most {MAX_TAGS_BYTES}")
    return tags


def _tag_name(name: object, field: str) -> str:
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= MAX_TAG_NAME_CHARS
        or not is_storable(name)
    ):
        raise bad_input(
            field,
            f"the tag name {shown(name)} is not allowed; "
            f"a string of 1 to {MAX_TAG_NAME_CHARS} characters",
        )
    return name


def parse_tag_value(value: object, *, field: str) -> str | list[str]:
    """The value of one tag: a string, or a list of at most 32 strings, which may be empty."""
    if isinstance(value, str):
        return check_text(value, field, max_chars=MAX_TAG_VALUE_CHARS)
    if not isinstance(value, list | tuple):
        refuse(field, value, "a tag holds a string or a list of strings")
    if len(value) > MAX_TAG_VALUES:
        raise bad_input(field, f"{len(value)} values in one tag; at most {MAX_TAG_VALUES}")
    return [
        check_text(item, dotted(field, index), max_chars=MAX_TAG_VALUE_CHARS)
        for index, item in enumerate(value)
    ]
