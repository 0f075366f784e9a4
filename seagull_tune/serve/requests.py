"""The bodies of requests: their fields, checked all at once. What a field means is in docs/server.md."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import pydantic
from pydantic import ConfigDict, Field

from seagull_tune.errors import did_you_mean
from seagull_tune.serve.refusals import RefusedRequestError

MAX_CORNERS = 10_000
"""Most corners of a polygon."""

_SHOWN_PROBLEMS = 10
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class _Body(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class RegionInput(_Body):
    """One region: a name, and exactly one of box, polygon, RLE and point, in pixels of the photograph."""

    name: str = ""
    box: list[int] | str | None = None
    polygon: Annotated[list[list[float]], Field(max_length=MAX_CORNERS)] | str | None = None
    rle: dict[str, Any] | None = None
    point: list[int] | str | None = None

    @pydantic.model_validator(mode="after")
    def _one_notation(self) -> RegionInput:
        given = [key for key in ("box", "polygon", "rle", "point") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"a region has exactly one of box, polygon, rle and point; this one has {given or 'none'}")
        return self


class ImageUrl(_Body):
    """A photograph as a data URL."""

    url: str
    detail: str | None = None


class TextPart(_Body):
    """A piece of text."""

    type: Literal["text"]
    text: str


class ImagePart(_Body):
    """The photograph."""

    type: Literal["image_url"]
    image_url: ImageUrl


class ChatMessage(_Body):
    """One turn."""

    role: Literal["user", "assistant"]
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]
    name: str | None = None


class StreamOptions(_Body):
    """What a stream brings beside the text."""

    include_usage: bool = False


class ChatRequest(_Body):
    """``POST /v1/chat/completions``. Answers are greedy: ``temperature``, ``top_p`` and ``seed`` are taken and change
    nothing. The last four fields are ours."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Literal[1] | None = 1
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    user: str | None = None
    regions: list[RegionInput] = []
    all_regions: bool = False
    region: str | None = None
    numbers: bool = False


class AssessRequest(_Body):
    """``POST /v1/assess``."""

    image: str
    model: str | None = None
    name: str = "image"
    regions: list[RegionInput] = []
    all_regions: bool = False
    text: bool = False


B = TypeVar("B", ChatRequest, AssessRequest)


def parse_body(model: type[B], body: bytes) -> B:
    """A checked body.

    Raises:
        RefusedRequestError: not JSON, or fields that cannot be used, all of them at once.
    """
    try:
        values = json.loads(body, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RefusedRequestError(f"The body is not JSON: {error}.", code="invalid_json") from error
    if _ESCAPED_SURROGATE.search(body):
        _require_unicode(values)
    if not isinstance(values, dict):
        raise RefusedRequestError(f"The body is a JSON {type(values).__name__}; an object is needed.")
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        lines = [_problem(model, detail) for detail in details[:_SHOWN_PROBLEMS]]
        more = f"; and {len(details) - _SHOWN_PROBLEMS} more" if len(details) > _SHOWN_PROBLEMS else ""
        raise RefusedRequestError("; ".join(lines) + more, param=str(details[0]["loc"][0])) from error


def _require_unicode(values: object) -> None:
    """JSON may escape halves of letters, which no text, no tokenizer and no answer can hold."""
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RefusedRequestError("The body holds text that is not Unicode: half of a surrogate pair.") from error


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text[:20]} is no number that can be held")
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _problem(model: type[pydantic.BaseModel], detail: Any) -> str:
    """One line for one of pydantic's errors; the value is shown shortened, as it may be a photograph."""
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(str(detail["loc"][-1]), model.model_fields) if len(detail["loc"]) == 1 else ""
        return f"{where[:80]}: unknown field, or one that this server does not support.{hint}"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] in ("missing", "value_error"):
        return f"{where}: {message}"
    return f"{where}: is {repr(detail['input'])[:60]}; {message}"
