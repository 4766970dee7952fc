"""The base of models that mirror a JSON schema of TAMS, and their errors in our form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from tams_gql.model.bounds import (
    MAX_DESCRIPTION_CHARS,
    MAX_INT32,
    MAX_LABEL_CHARS,
    MAX_NAME_CHARS,
    MIN_INT32,
    bad_input,
    dotted,
    refuse,
)
from tams_gql.model.errors import BadInput
from tams_gql.model.ids import MIME_TYPE_ALLOWED, UUID_ALLOWED, canonical_uuid, is_mime_type


class SpecModel(BaseModel):
    """An immutable JSON object of the specification.

    Types are strict (``true`` and 1.0 are no integers, ``"1"`` is none either) and, as in the
    schemas, a key is left out rather than ``null``. Keys that the specification does not know are
    kept, unless a subclass forbids them because the specification does.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: object) -> object:
        if value is None:
            raise PydanticCustomError("null", "leave the key out when it has no value")
        return value

    def to_json(self) -> dict[str, object]:
        """The JSON object as sent: no defaults filled in, unknown keys kept, UUIDs canonical."""
        return self.model_dump(mode="json", exclude_unset=True)


def _check_uuid(value: object) -> str:
    uuid = canonical_uuid(value)
    if uuid is None:
        raise PydanticCustomError("uuid", "{allowed}", {"allowed": UUID_ALLOWED})
    return uuid


def _check_mime_type(value: object) -> str:
    if not isinstance(value, str) or not is_mime_type(value):
        raise PydanticCustomError("mime_type", "{allowed}", {"allowed": MIME_TYPE_ALLOWED})
    return value


Uuid = Annotated[str, BeforeValidator(_check_uuid)]
MimeType = Annotated[str, BeforeValidator(_check_mime_type)]
Int32 = Annotated[int, Field(ge=MIN_INT32, le=MAX_INT32)]
NonNegative = Annotated[int, Field(ge=0, le=MAX_INT32)]
Positive = Annotated[int, Field(gt=0, le=MAX_INT32)]
Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Label = Annotated[str, Field(max_length=MAX_LABEL_CHARS)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)]


class Rational(SpecModel):
    """A positive fraction whose denominator is 1 when left out."""

    numerator: Positive
    denominator: Positive = 1


class Ratio(SpecModel):
    """A positive fraction whose denominator the specification requires."""

    numerator: Positive
    denominator: Positive


Model = TypeVar("Model", bound=SpecModel)

_TYPE_NAMES: Final = {
    "int_type": "a whole number",
    "string_type": "a string",
    "bool_type": "true or false",
    "dict_type": "a JSON object",
    "model_type": "a JSON object",
    "list_type": "a list",
}


def validate(model: type[Model], body: Mapping[str, object], *, field: str) -> Model:
    """``body`` as ``model``; raises ``BadInput`` about the first offending key."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise _bad_input(model, error.errors(include_url=False)[0], field) from None


def _bad_input(model: type[SpecModel], error: ErrorDetails, field: str) -> BadInput:
    path = dotted(field, *error["loc"])
    kind = error["type"]
    if kind == "missing":
        return bad_input(path, "is required")
    if kind == "extra_forbidden":
        known = ", ".join(_keys_at(model, error["loc"][:-1]))
        return bad_input(path, f"the specification allows no such key here; only {known}")
    allowed = _TYPE_NAMES.get(kind) or error["msg"].removeprefix("Input should be ")
    try:
        refuse(path, error["input"], allowed)
    except BadInput as bad:
        return bad


def _keys_at(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    for name in path:
        annotation: Any = model.model_fields[str(name)].annotation
        # An optional object is a union of the model and None.
        model = next(part for part in (*get_args(annotation), annotation) if part is not type(None))
    return list(model.model_fields)
