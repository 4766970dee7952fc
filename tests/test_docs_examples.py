"""The GraphQL examples of the documents are valid: each is held against the committed schema."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from graphql import GraphQLError, build_schema, parse, validate
from graphql.execution.values import get_variable_values

from tams_gql.http.explorer.queries import QUERIES
from tams_gql.model import errors
from tams_gql.schema import committed_sdl
from tests.documents import ROOT, Example, Request, Upload, examples, steps
from tests.schema.pricing import asked

__all__ = ["ALL", "Example"]

README = "README.md"
API = "docs/graphql.md"
BY_EXAMPLE = "docs/graphql-by-example.md"
DOCUMENTS = (README, API, BY_EXAMPLE)
SCHEMA = build_schema(committed_sdl())

_FENCE = re.compile(r"^ {0,3}```graphql", re.MULTILINE)
_CODE_ROW = re.compile(r"^\| `([A-Z_]+)` \|", re.MULTILINE)

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


@pytest.mark.parametrize(
    "example", [example for example in ALL if example.fails], ids=lambda example: example.place
)
def test_a_failure_is_announced_to_the_reader(example: Example) -> None:
    said = example.prose.rpartition("\n\n")[0].rpartition("\n\n")[2]
    assert re.search(rf"\bfails\s+with\s+`{example.fails}`", said), said


@pytest.mark.parametrize("example", [*examples(BY_EXAMPLE)], ids=lambda example: example.place)
def test_a_screen_has_its_answer_and_its_price(example: Example) -> None:
    assert example.answer is not None
    assert example.cost == asked(example.text, example.variables).cost


def test_the_cost_of_the_demo_query_is_told_as_it_is() -> None:
    found = asked(QUERIES["The catalog"])
    text = (ROOT / API).read_text(encoding="utf-8")
    assert f'"requested": {found.cost}, "limit": 100000, "depth": {found.shape.depth}' in text


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


PAGE = """\
A

```graphql
query A($id: ID!) { flow(id: $id) { id } }
```

```json
{"id": "x"}
```

It fails with `CONFLICT`:

```graphql fails=CONFLICT
mutation B { updateService(input: {}) { service { name } } }
```

```json answer
{"errors": "…"}
```

Cost 1,011.

```sh
curl elsewhere
```

```graphql twice
query C { service { name } }
```

It answers:

```json
{}
```

```sh upload=A
curl 'URL_OF_THE_ANSWER'
```

```sh request
curl http://127.0.0.1:8000/graphql
```
"""


def test_what_a_document_asks_for_is_read_in_its_order() -> None:
    first, second, third, upload, request = steps("page.md", PAGE)
    assert isinstance(first, Example)
    assert (first.place, first.name, first.variables) == ("page.md:3", "A", {"id": "x"})
    assert (first.fails, first.twice, first.answer, first.cost) == (None, False, None, None)
    assert isinstance(second, Example)
    assert (second.place, second.name, second.variables) == ("page.md:13", "B", {})
    assert (second.fails, second.answer, second.cost) == ("CONFLICT", {"errors": "…"}, 1011)
    assert second.prose == "\n\nIt fails with `CONFLICT`:\n\n"
    assert isinstance(third, Example)
    assert (third.name, third.twice, third.variables, third.cost) == ("C", True, {}, None)
    assert upload == Upload("page.md:37", "A")
    assert request == Request("page.md:41", "curl http://127.0.0.1:8000/graphql\n")


@pytest.mark.parametrize(
    ("block", "refusal"),
    [
        ("```graphql slow\n{ a }\n```", "slow says nothing of an example"),
        ("```graphql fails=\n{ a }\n```", "the code is missing"),
        ("```json answer\n{}\n```", "there is no example to answer"),
        ("```json question\n{}\n```", "says nothing of a block of JSON"),
        ("```sh download=A\ncurl x\n```", "download=A says nothing of a command"),
        ("```text upload=A\nx\n```", "says nothing of a block of text"),
    ],
)
def test_a_mark_that_nothing_heeds_is_refused(block: str, refusal: str) -> None:
    with pytest.raises(AssertionError, match=refusal):
        list(steps("page.md", f"{block}\n"))
