"""Tags and filters on them."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
import strawberry

from tams_gql.model.errors import BadInput, LimitExceeded
from tams_gql.schema.fields import column
from tams_gql.store.scan import Tagged, TagOp

MAX_VALUES = 64


@strawberry.type(description="A named label with one or more values.")
class Tag:
    """One tag of a resource."""

    name: str = column("The tag's name.")
    values: list[str] = column("Its values; one for a plain tag.")


@strawberry.input(description="A tag to set.")
class TagInput:
    """One tag as given by a client."""

    name: str = strawberry.field(description="1 to 128 characters.")
    values: list[str] = strawberry.field(
        description="Up to 32 values of up to 1,024 characters. One value is stored as a plain"
        " string, several or none as a list."
    )


@strawberry.input(
    description="A condition on one tag. Exactly one of the tests must be given. A tag with several"
    " values matches if any of them does; values match whole."
)
class TagFilter:
    """One tag condition as given by a client."""

    name: str = strawberry.field(description="The tag's name.")
    in_: list[str] | None = strawberry.field(
        name="in", default=None, description="The tag has any of these values, at most 64."
    )
    all: list[str] | None = strawberry.field(
        default=None, description="The tag has every one of these values, at most 64."
    )
    prefix: str | None = strawberry.field(
        default=None, description="The tag has a value that begins so."
    )
    exists: bool | None = strawberry.field(
        default=None, description="The tag is there (true) or not (false), whatever its values."
    )


def tags_of(text: str | None) -> list[Tag]:
    """Stored tags as GraphQL objects."""
    if text is None:
        return []
    return [
        Tag(name=name, values=[value] if isinstance(value, str) else value)
        for name, value in orjson.loads(text).items()
    ]


def tag_of(text: str | None, name: str) -> Tag | None:
    """One stored tag by name."""
    return next((tag for tag in tags_of(text) if tag.name == name), None)


def tags_document(tags: Iterable[TagInput] | None, field: str) -> dict[str, object] | None:
    """Tags in the specification's JSON; ``BadInput`` if a name is given twice."""
    if tags is None:
        return None
    document: dict[str, object] = {}
    for tag in tags:
        if tag.name in document:
            raise BadInput(f"{field}: the tag {tag.name[:80]!r} is given twice", field=field)
        document[tag.name] = tag.values[0] if len(tag.values) == 1 else tag.values
    return document


def tag_conditions(filters: Iterable[TagFilter] | None, path: str) -> tuple[Tagged, ...]:
    """Tag filters in domain terms; errors name the place inside ``path``."""
    return tuple(_tagged(tag, f"{path}.{index}") for index, tag in enumerate(filters or ()))


def _refuse_long_list(tag: TagFilter, path: str) -> None:
    for name, values in (("in", tag.in_), ("all", tag.all)):
        if values is not None and len(values) > MAX_VALUES:
            raise LimitExceeded(
                f"{path}.{name}: {len(values)} values are above the limit of {MAX_VALUES}",
                field=f"{path}.{name}",
                limit=MAX_VALUES,
                requested=len(values),
            )


def _tagged(tag: TagFilter, path: str) -> Tagged:
    tests = [name for name in ("in_", "all", "prefix", "exists") if getattr(tag, name) is not None]
    if len(tests) != 1:
        raise BadInput(
            f"{path}: give exactly one of in, all, prefix, exists; got {len(tests)}", field=path
        )
    _refuse_long_list(tag, path)
    if tag.in_ is not None:
        return Tagged(tag.name, TagOp.IN, tuple(tag.in_))
    if tag.all is not None:
        return Tagged(tag.name, TagOp.ALL, tuple(tag.all))
    if tag.prefix is not None:
        return Tagged(tag.name, TagOp.PREFIX, (tag.prefix,))
    return Tagged(tag.name, TagOp.EXISTS if tag.exists else TagOp.ABSENT)
