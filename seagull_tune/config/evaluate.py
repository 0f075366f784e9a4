"""Configuration of a measurement and of the baselines that it is set beside."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from seagull_tune.config.base import StrictModel


class EvaluationSettings(StrictModel):
    """How a tuned model is measured.

    Attributes:
        seed: of the bootstrap and of the choice of regions that are described in words.
        texts_per_image: regions per image, over all its renderings, that the model also describes in words; the share
            of texts that cannot be read back is ``unparsable``. 0 turns it off.
        bootstrap_draws: resamplings of the photographs behind the 95 % intervals; 0 leaves the intervals out.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    texts_per_image: Annotated[int, Field(ge=0)] = 1
    bootstrap_draws: Annotated[int, Field(ge=0, le=100_000)] = 1000


class BaselineSettings(StrictModel):
    """How the baselines are fitted.

    Attributes:
        seed: of the choice of training samples and of the folds.
        max_regions: about this many regions are used (whole samples, the photographs in turn).
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    max_regions: Annotated[int, Field(ge=10, le=10_000)] = 4000
