"""What the objects of the catalog share: ids, references to each other, windows, tags."""

from __future__ import annotations

from typing import Annotated

import strawberry

from tams_gql.model.time import TimeRange as Range
from tams_gql.schema.fields import arg, column
from tams_gql.schema.scalars import TimeRange

# The model refers to itself in circles; these names defer the imports.
SOURCE = Annotated["Source", strawberry.lazy("tams_gql.schema.sources")]  # type: ignore[name-defined] # noqa: F821
FLOW = Annotated["Flow", strawberry.lazy("tams_gql.schema.flows")]  # type: ignore[name-defined] # noqa: F821
MEDIA_OBJECT = Annotated["MediaObject", strawberry.lazy("tams_gql.schema.objects")]  # type: ignore[name-defined] # noqa: F821

Window = Annotated[TimeRange | None, arg("Only what overlaps this range; default everything.")]
Id = Annotated[strawberry.ID, arg("The UUID.")]
Search = Annotated[
    str | None,
    arg(
        "Words that must all occur, in any case and anywhere, in the label, the description or a"
        " tag value; at most 16 in 1,024 characters."
    ),
]
TagName = Annotated[str, arg("The tag's name.")]


def window_of(text: str | None, field: str = "window") -> Range | None:
    """A window argument in domain terms."""
    return None if text is None else Range.parse(text, field=field)


@strawberry.interface(description="Something that can be found by its UUID alone.")
class Node:
    """Relay's node."""

    id: strawberry.ID = column("The TAMS id.")
