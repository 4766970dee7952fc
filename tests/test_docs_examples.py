"""The GraphQL examples of the documents are valid: each is held against the committed schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLError, OperationDefinitionNode, build_schema, parse, validate
from graphql.execution.values import get_variable_values

from tams_gql.http.explorer.queries import QUERIES
from tams_gql.model import errors
from tams_gql.schema import committed_sdl

ROOT = Path(__file__).parents[1]
README = "README.md"
API = "docs/graphql.md"
DOCUMENTS = (README, API)
SCHEMA = build_schema(committed_sdl())

# A block of JSON with nothing but blank lines before it holds the variables of the example above.
_EXAMPLE = re.compile(
    r"^```graphql\n(?P<text>.*?)^```\n(?:\s*^```json\n(?P<variables>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
_FENCE = re.compile(r"^ {0,3}```graphql", re.MULTILINE)
_CODE_ROW = re.compile(r"^\| `([A-Z_]+)` \|", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """One operation of a document, as a client would send it. ``place`` is ``file:line``."""

    place: str
    text: str
    variables: dict[str, Any]

    @property
    def operation(self) -> OperationDefinitionNode:
        """The only definition of an example is one operation; anything else is refused."""
        (definition,) = parse(self.text).definitions
        assert isinstance(definition, OperationDefinitionNode), f"{self.place}: no operation"
        return definition

    @property
    def name(self) -> str:
        """The operation's name, which a client sends as ``operationName``."""
        assert self.operation.name is not None, f"{self.place}: the operation has no name"
        return self.operation.name.value


def examples(document: str, text: str | None = None) -> Iterator[Example]:
    """The examples of a document in their order, which is also the order to run them in.

    ``document`` is a path from the top of the repository; ``text`` stands in for its content.
    """
    text = (ROOT / document).read_text(encoding="utf-8") if text is None else text
    for found in _EXAMPLE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        variables = found["variables"]
        yield Example(
            f"{document}:{line}", found["text"], {} if variables is None else json.loads(variables)
        )


ALL = [example for document in DOCUMENTS for example in examples(document)]


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.place)
def test_an_example_fits_the_schema(example: Example) -> None:
    operation = example.operation
    assert example.name
    assert validate(SCHEMA, parse(example.text)) == []
    declared = operation.variable_definitions or ()
    assert example.variables.keys() <= {definition.variable.name.value for definition in declared}
    assert _problems(get_variable_values(SCHEMA, declared, example.variables)) == []


def _problems(values: object) -> list[GraphQLError]:
    return values if isinstance(values, list) else []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_found_and_named_once(document: str) -> None:
    found = list(examples(document))
    assert len(found) == len(_FENCE.findall((ROOT / document).read_text(encoding="utf-8"))) > 0
    names = [example.name for example in found]
    assert len(set(names)) == len(names)


def test_the_readme_shows_the_queries_of_the_demo() -> None:
    assert [example.text for example in examples(README)] == list(QUERIES.values())


def test_every_error_code_is_explained() -> None:
    rows = _CODE_ROW.findall((ROOT / API).read_text(encoding="utf-8"))
    kinds: list[type[errors.TamsError]] = [errors.TamsError, *_below(errors.TamsError)]
    assert sorted(rows) == sorted({kind.code for kind in kinds})


def _below(kind: type[errors.TamsError]) -> Iterator[type[errors.TamsError]]:
    # Other modules have kinds of their own, which never reach a client of GraphQL.
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield below
            yield from _below(below)


def test_variables_stand_directly_below_their_example() -> None:
    text = (
        "A\n\n```graphql\nquery A($id: ID!) { flow(id: $id) { id } }\n```\n"
        '\n```json\n{"id": "x"}\n```\n\n'
        "```graphql\nquery B { service { name } }\n```\n\nIt answers:\n\n```json\n{}\n```\n"
    )
    first, second = examples("page.md", text)
    assert (first.place, first.name, first.variables) == ("page.md:3", "A", {"id": "x"})
    assert (second.place, second.name, second.variables) == ("page.md:11", "B", {})
