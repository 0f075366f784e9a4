"""Configuration of the web page."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from seagull_tune.config.answer import AnswerConfig


class WebConfig(AnswerConfig):
    """How the web page runs: where it listens, and what one visitor may take of the machine.

    Attributes:
        host: address it listens on; ``127.0.0.1`` is reached from this machine only, ``0.0.0.0`` from everywhere.
        port: TCP port.
        max_pixels: photographs with more pixels are refused; every visitor's photograph is held in memory.
        max_upload_mb: larger files are refused while they arrive, in MiB.
        max_regions: regions of one visitor, at most.
        shown_side: longest side of the photograph on the page, in pixels; regions keep the photograph's own pixels.
        scorer: folder of a scorer of whole photographs, for example ``runs/rsa/model``; None has the page say how to
            train one.
        describer: checkpoint of the scorer's tuned model, where it is neither ``model`` nor near the scorer.
        worst: regions that the score of a whole photograph tells of in words.
        visitors: visitors whose photographs are held; beyond them, who was away longest starts anew.
    """

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 7860
    max_pixels: Annotated[int, Field(ge=1)] = 60_000_000
    max_upload_mb: Annotated[int, Field(ge=1)] = 100
    max_regions: Annotated[int, Field(ge=1, le=1000)] = 64
    shown_side: Annotated[int, Field(ge=256, le=4096)] = 1024
    scorer: str | None = None
    describer: str | None = None
    worst: Annotated[int, Field(ge=1)] = 3
    visitors: Annotated[int, Field(ge=1)] = 16
