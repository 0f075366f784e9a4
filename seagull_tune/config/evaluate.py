"""Configuration of a measurement and of the baselines that it is set beside."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel

Figure = Literal["quality", "importance", "types", "severity"]
FIGURES: tuple[Figure, ...] = get_args(Figure)
"""Groups of figures."""

Summary = Literal["area_mean", "importance_mean", "worst"]


class Protocol(StrictModel):
    """What is compared with what: one file of ``configs/evaluate/`` per protocol.

    Attributes:
        name: stored with the figures; figures of different protocols are never compared.
        judged: ``regions``, or whole ``pictures``, of which the model's summary of their regions is taken.
        truth: where the truth must come from; a data set with another one is refused. ``measured``: the full-reference
            measure and the recipe; ``raters``: people who rated regions; ``opinions``: a mean opinion score (MOS) per
            picture, with its declared range and direction.
        split: the split of the data set that is measured.
        figures: which groups of figures are given; pictures only have ``quality``.
        summaries: how the regions of a picture are summed up to one number. Of several, the one with the best SRCC on
            the validation share is taken: never the best on what is measured.
        validation: share of the scenes of the split on which the summary is chosen; the others are measured.
        seeds: of the division into validation and measured scenes; the figures are the medians over them.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    judged: Literal["regions", "pictures"] = "regions"
    truth: Literal["measured", "raters", "opinions"] = "measured"
    split: Literal["validation", "test"] = "test"
    figures: Annotated[tuple[Figure, ...], Field(min_length=1)] = FIGURES
    summaries: tuple[Summary, ...] = ()
    validation: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("figures", "summaries", "seeds"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names something twice: {', '.join(map(str, values))}")
        if (self.judged == "pictures") is not (self.truth == "opinions"):
            raise ValueError(f"judged '{self.judged}' does not go with truth '{self.truth}': opinions are of pictures")
        if self.judged == "regions" and (self.summaries or self.validation or len(self.seeds) > 1):
            raise ValueError(
                "summaries, validation and several seeds are of judged 'pictures': of regions, nothing is chosen"
            )
        if self.judged == "pictures":
            self._check_pictures()
        return self

    def _check_pictures(self) -> None:
        if self.figures != ("quality",):
            raise ValueError("pictures have one figure: figures: [quality]")
        if not self.summaries:
            raise ValueError("pictures need at least one of the summaries: area_mean, importance_mean, worst")
        if (len(self.summaries) > 1) is not (self.validation > 0.0):
            raise ValueError(
                "a summary is chosen among several on a validation share: give several summaries and a share, or one "
                "summary and none"
            )
        if len(self.seeds) > 1 and not self.validation:
            raise ValueError("without a validation share all seeds give the same figures: give one")


SYNTHETIC_ROI = Protocol(name="synthetic-roi")
"""The protocol of ``configs/evaluate/synthetic-roi.yaml``."""


class CropMetric(StrictModel):
    """A no-reference metric of pyiqa, which judges the crop of every region's bounding box.

    Attributes:
        metric: its name there.
        accept_noncommercial: pyiqa is under the PolyForm Noncommercial licence; it is refused without this.
        device: where it computes.
    """

    metric: Annotated[str, Field(min_length=1)]
    accept_noncommercial: bool = False
    device: str = "cpu"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.accept_noncommercial:
            raise ValueError(
                "the metrics of pyiqa are under the PolyForm Noncommercial licence 1.0.0, which forbids commercial "
                "use; if yours is not commercial, set accept_noncommercial: true (docs/licences.md), else leave it out"
            )
        return self


class EvaluationSettings(StrictModel):
    """How a tuned model is measured.

    Attributes:
        seed: of the bootstrap and of the choice of regions that are described in words.
        texts_per_image: regions per image, over all its renderings, that the model also describes in words; the share
            of texts that cannot be read back is ``unparsable``. 0 turns it off.
        bootstrap_draws: resamplings of the photographs behind the 95 % intervals; 0 leaves the intervals out.
        baselines: which of the optional baselines stand beside the model. ``crop``: the classical baseline, which sees
            the region's bounding box; ``box_drawn``: the same model, asked about the whole picture with the box drawn
            on it (the photograph is encoded once per region: slow).
        crop_metric: a metric of others on the bounding box; None for none.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    texts_per_image: Annotated[int, Field(ge=0)] = 1
    bootstrap_draws: Annotated[int, Field(ge=0, le=100_000)] = 1000
    baselines: tuple[Literal["crop", "box_drawn"], ...] = ("crop",)
    crop_metric: CropMetric | None = None


class BaselineSettings(StrictModel):
    """How the baselines are fitted.

    Attributes:
        seed: of the choice of training samples and of the folds.
        max_regions: about this many regions are used (whole samples, the photographs in turn).
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    max_regions: Annotated[int, Field(ge=10, le=10_000)] = 4000


class CompareConfig(StrictModel):
    """How measurements are set beside each other.

    Attributes:
        draws: resamplings of the photographs behind every difference.
        seed: of the resampling.
    """

    draws: Annotated[int, Field(ge=1, le=100_000)] = 1000
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
