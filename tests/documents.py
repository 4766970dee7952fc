"""What the documents ask a reader to do: GraphQL examples with their answers, uploads, requests.

The word after a fence's language and the block that follows tell what a block is:

- ``graphql`` is an example; ``graphql fails=CODE`` one that is answered with that error, and
  ``graphql twice`` one that is run again and must answer the same;
- ``json`` directly below an example holds its variables, in which ``$Name.path`` stands for a value
  from the answer to an earlier example;
- ``json answer`` is what the example above it answers, in which ``…`` stands for anything;
- ``sh upload=Name`` uploads to the places that the example ``Name`` was given;
- ``sh request`` is a request to the endpoint that is sent as it stands.

"Cost 123" in the text between an example and the next one is what the server charges for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphql import OperationDefinitionNode, parse

ROOT = Path(__file__).parents[1]

_BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_COST = re.compile(r"\bCost ([\d,]*\d)\b")


@dataclass(slots=True)
class Example:
    """One operation of a document, as a client would send it. ``place`` is ``file:line``.

    ``prose`` is the text between it and the block before; ``after`` what stands between it and
    the next example, without blocks.
    """

    place: str
    text: str
    variables: dict[str, Any]
    answer: object = None
    fails: str | None = None
    twice: bool = False
    prose: str = ""
    after: str = ""

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

    @property
    def cost(self) -> int | None:
        """What the text says that it costs; None if it does not say."""
        found = _COST.findall(self.after)
        assert len(found) < 2, f"{self.place}: the text names two costs"
        return int(found[0].replace(",", "")) if found else None


@dataclass(frozen=True, slots=True)
class Upload:
    """Bytes to send to all places that an earlier allocation was given."""

    place: str
    allocation: str


@dataclass(frozen=True, slots=True)
class Request:
    """A command line of curl to send as a request."""

    place: str
    command: str


Step = Example | Upload | Request


def steps(document: str, text: str | None = None) -> Iterator[Step]:
    """What a document asks to do, in its order.

    ``document`` is a path from the top of the repository; ``text`` stands in for its content.
    """
    text = (ROOT / document).read_text(encoding="utf-8") if text is None else text
    example: Example | None = None
    end = 0
    for block in _BLOCK.finditer(text):
        between, end = text[end : block.start()], block.end()
        if example is not None:
            example.after += between
        place = f"{document}:{text.count(chr(10), 0, block.start()) + 1}"
        language, *words = block["info"].split() or [""]
        if language == "graphql":
            if example is not None:
                yield example
            example = _example(place, block["text"], words, between)
        elif language == "json":
            _add(example, place, words, json.loads(block["text"]), directly=not between.strip())
        elif language == "sh" and words:
            if example is not None:
                yield example
                example = None
            yield _command(place, block["text"], words)
        else:
            assert not words, f"{place}: {words} says nothing of a block of {language}"
    if example is not None:
        example.after += text[end:]
        yield example


def examples(document: str, text: str | None = None) -> Iterator[Example]:
    """The GraphQL examples of a document, in its order."""
    return (step for step in steps(document, text) if isinstance(step, Example))


def _example(place: str, text: str, words: list[str], prose: str) -> Example:
    example = Example(place, text, {}, prose=prose)
    for word in words:
        if word == "twice":
            example.twice = True
        else:
            key, _, code = word.partition("=")
            assert key == "fails", f"{place}: {word} says nothing of an example"
            assert code, f"{place}: the code is missing"
            example.fails = code
    return example


def _add(
    example: Example | None, place: str, words: list[str], value: Any, *, directly: bool
) -> None:
    """A block of JSON to the example before it."""
    if words == ["answer"]:
        assert example is not None, f"{place}: there is no example to answer"
        assert example.answer is None, f"{place}: {example.name} has an answer"
        example.answer = value
        return
    assert not words, f"{place}: {words} says nothing of a block of JSON"
    if example is not None and directly:
        assert not example.variables, f"{place}: {example.name} has variables"
        assert example.answer is None, f"{place}: variables stand above the answer"
        example.variables = value


def _command(place: str, text: str, words: list[str]) -> Upload | Request:
    (word,) = words
    if word == "request":
        return Request(place, text)
    key, _, name = word.partition("=")
    assert key == "upload", f"{place}: {word} says nothing of a command"
    return Upload(place, name)
