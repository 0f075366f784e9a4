"""Configuration of runs over several rooms: the whole way (quickstart and benchmark are two of it), and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from seagull_tune.config.answer import Engine, SegmenterChoice
from seagull_tune.config.base import StrictModel, load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.evaluate import SYNTHETIC_ROI, BaselineSettings, EvaluationSettings, Protocol
from seagull_tune.config.train import TrainConfig

FILE_KEY = "file"
"""Key of a section that names the YAML file it builds on; its other keys are laid over that file."""


BENCHMARK = "configs/data/benchmark.yaml"
SYNTHETIC = "configs/evaluate/synthetic-roi.yaml"


def _section(model: type[StrictModel], default: str | None = None) -> Callable[[Any], Any]:
    """Reads the file that a section names (or ``default``), and lays the section's other keys over it."""

    def expand(value: Any) -> Any:
        if not isinstance(value, Mapping) or value.get(FILE_KEY, default) is None:
            return value
        rest = {key: entry for key, entry in value.items() if key != FILE_KEY}
        file = value.get(FILE_KEY, default)
        if not isinstance(file, str):
            raise ValueError(f"{FILE_KEY} is {file!r}; allowed: the path of a YAML file")
        return _merged(load_config(model, file).model_dump(exclude_unset=True), rest)

    return expand


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(under)
    for key, value in over.items():
        old = out.get(key)
        out[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out


class QuickstartConfig(StrictModel):
    """From photographs to a measured model. Every section may name a ``file`` that it builds on.

    Attributes:
        out: run folder; the finished checkpoint is ``<out>/model``.
        data: the training data set, ``<out>/data``.
        test: the test data set, ``<out>/test``; None takes the test split of ``data``.
        pretrain, finetune: the two trainings. ``out``, ``data``, ``init`` (of ``finetune``) and ``cache_dir`` are
            set by the run.
        baselines: how the baselines are fitted on the training data.
        evaluation: how the finished model is measured.
        engine: where and how it runs when it is measured.
    """

    out: Annotated[str, Field(min_length=1)]
    data: Annotated[BuildConfig, BeforeValidator(_section(BuildConfig))]
    test: Annotated[BuildConfig | None, BeforeValidator(_section(BuildConfig))] = None
    pretrain: Annotated[TrainConfig, BeforeValidator(_section(TrainConfig))]
    finetune: Annotated[TrainConfig, BeforeValidator(_section(TrainConfig))]
    baselines: BaselineSettings = BaselineSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    engine: Engine = Engine()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.test is None and not (self.data.split.test or "test" in self.data.split.scenes.values()):
            raise ValueError("there is nothing to test on: give `test`, or a test split in data.split")
        return self

    def with_folders(self) -> QuickstartConfig:
        """The configuration with every path that follows from ``out`` set."""
        common = {"data": f"{self.out}/data", "cache_dir": f"{self.out}/front"}
        pretrain = self.pretrain.model_copy(update={"out": f"{self.out}/pretrain", **common})
        finetune = self.finetune.model_copy(
            update={"out": f"{self.out}/finetune", "init": f"{self.out}/pretrain/model", **common}
        )
        return self.model_copy(update={"pretrain": pretrain, "finetune": finetune})


class EvaluateConfig(StrictModel):
    """What `seagull-tune evaluate` does: a model is measured on a data set, or on one that is built from photographs.

    Attributes:
        model: checkpoint folder.
        protocol: what is compared with what; its ``file`` is one of ``configs/evaluate/``.
        dataset: folder of a finished data set; None builds one from ``data``.
        data: the test set that is built, laid over the frozen ``configs/data/benchmark.yaml``.
        evaluation: how the model is measured.
        segmenter: what finds the regions of whole pictures.
        engine: where and how it runs.
    """

    model: str = "runs/quickstart/model"
    protocol: Annotated[Protocol, BeforeValidator(_section(Protocol, SYNTHETIC))] = SYNTHETIC_ROI
    dataset: str | None = None
    data: Annotated[BuildConfig, BeforeValidator(_section(BuildConfig, BENCHMARK))] = Field(default_factory=BuildConfig)
    evaluation: EvaluationSettings = EvaluationSettings()
    segmenter: SegmenterChoice = SegmenterChoice()
    engine: Engine = Engine()

    @model_validator(mode="after")
    def _check(self) -> Self:
        built = "source" in self.data.model_fields_set
        if built and self.dataset is not None:
            raise ValueError("it is measured on a finished data set (--data) or on photographs (--images), not on both")
        if built and self.protocol.truth != "measured":
            raise ValueError(
                f"the protocol {self.protocol.name!r} needs truth from people, which photographs have not; import it "
                "(`seagull-tune import ratings` or `import mos`) and name the data set: --data DIR"
            )
        return self
