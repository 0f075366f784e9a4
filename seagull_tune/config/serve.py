"""Configuration of `serve`: where it listens, what it takes at most, how requests are answered together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from seagull_tune.config.answer import Engine, SegmenterChoice
from seagull_tune.config.base import StrictModel


class ServeLimits(StrictModel):
    """What one request, and all that wait together, may take. What is above is refused with a reason.

    Attributes:
        body_bytes: of a request's body (413).
        pixels: of its photograph (413).
        regions: named in a request, or found where all are asked for (413).
        mask_pixels: regions times pixels of the photograph: what their masks take while they are read (413).
        question: characters of one question (413).
        turns: messages of a conversation (413).
        new_tokens: longest answer; a request that asks for more is refused (400).
        waiting: requests that are read, wait or are answered at a time; beyond it 429.
        waiting_pixels: pixels of their photographs together; beyond it 429.
        seconds: from a request's first byte to its answer (408 while its body is read, then 504).
        shutdown_seconds: how long requests may go on once the server was told to stop.
    """

    body_bytes: Annotated[int, Field(ge=1024)] = 32 << 20
    pixels: Annotated[int, Field(ge=1)] = 40_000_000
    regions: Annotated[int, Field(ge=1)] = 64
    mask_pixels: Annotated[int, Field(ge=1)] = 1_000_000_000
    question: Annotated[int, Field(ge=1, le=20_000)] = 4_000
    turns: Annotated[int, Field(ge=1)] = 64
    new_tokens: Annotated[int, Field(ge=1, le=4096)] = 512
    waiting: Annotated[int, Field(ge=1)] = 64
    waiting_pixels: Annotated[int, Field(ge=1)] = 250_000_000
    seconds: Annotated[float, Field(gt=0)] = 120.0
    shutdown_seconds: Annotated[float, Field(ge=0)] = 10.0


class Batching(StrictModel):
    """How requests that wait are answered together, and what is kept for those to come.

    Attributes:
        requests: most requests that are taken from the queue at once.
        gather_seconds: how long a batch waits at least for others that are expected: those that are still being read,
            and as many as came last time.
        gather_share: it waits as long as this share of the time that the last batch took, where that is longer (at most
            a second): what misses a batch waits for all of it.
        photograph_bytes: pixels that are kept, so that a photograph that comes again is not decoded again.
        encoding_bytes: what the vision side made of photographs.
        memory_bytes: what the language model made of prompts, and of photographs that numbers were asked about: so much
            for each of both.
    """

    requests: Annotated[int, Field(ge=1)] = 16
    gather_seconds: Annotated[float, Field(ge=0, le=1)] = 0.05
    gather_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    photograph_bytes: Annotated[int, Field(ge=0)] = 256 << 20
    encoding_bytes: Annotated[int, Field(ge=0)] = 256 << 20
    memory_bytes: Annotated[int, Field(ge=0)] = 64 << 20


class ServeConfig(Engine):
    """How a tuned model is served.

    Attributes:
        model: checkpoint folder.
        host, port: where it listens; port 0 takes a free one.
        api_key_env: name of the environment variable with the key that requests must carry; None asks for none.
        max_new_tokens: longest answer of a request that names no length.
        limits: what is refused.
        batching: what is answered together.
        segmenter: finds regions for points, and where all are asked for.
    """

    model: str = "runs/quickstart/model"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    api_key_env: str | None = None
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 128
    limits: ServeLimits = ServeLimits()
    batching: Batching = Batching()
    segmenter: SegmenterChoice = SegmenterChoice()
