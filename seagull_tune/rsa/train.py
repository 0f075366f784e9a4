"""Training of a scorer on opinion scores, as a table of contents. The backbone is frozen and its features are kept.

Only attention and head are trained: a batch is a few megabytes, an epoch of a thousand pictures some seconds.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from transformers import set_seed

from seagull_tune.config.rsa import RsaTrainConfig
from seagull_tune.config.train import LearningRates
from seagull_tune.errors import CheckpointError, ConfigError
from seagull_tune.files import atomic_write_text
from seagull_tune.metrics.correlation import plcc, plcc_logistic, srcc
from seagull_tune.model.checkpoint import model_digest
from seagull_tune.rsa.card import write_card
from seagull_tune.rsa.checkpoint import DescriberRecord, ScorerManifest, load_weights, save_scorer, write_scorer
from seagull_tune.rsa.features import Backbone
from seagull_tune.rsa.inputs import PictureReader, to_batch
from seagull_tune.rsa.losses import rsa_losses
from seagull_tune.rsa.model import RsaModel
from seagull_tune.rsa.opinion_data import RatedInputs, RatedPicture, collate, divide, read_rated
from seagull_tune.rsa.scorer import make_reader
from seagull_tune.training.arguments import run_arguments, start_engine
from seagull_tune.training.callbacks import callbacks, check_trackers
from seagull_tune.training.run_record import begin_record, git_commit, library_versions, read_record, write_record
from seagull_tune.training.together import alone_in, main_first
from seagull_tune.training.trainer import SeagullTrainer, last_checkpoint

SECTION = "rsa"
METRICS = "metrics.json"
_MEASURED = 256  # pictures on which the standardising constants are measured
_TEST_BATCH = 16


class RsaTrainer(SeagullTrainer):
    """The Trainer with one learning rate, and a scorer's saves.

    Args:
        manifest: what the scorer is, written into every checkpoint.
        others: as :class:`~seagull_tune.training.trainer.SeagullTrainer`.
    """

    def __init__(self, *, manifest: ScorerManifest, **kwargs: Any) -> None:
        self._manifest = manifest
        super().__init__(rates=LearningRates(), model_inputs=("batch",), **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW; biases, norms and scales are not decayed."""
        if self.optimizer is None:
            named = [(n, p) for n, p in (model or self.model).named_parameters() if p.requires_grad]
            groups = [
                {"params": [p for _, p in named if (p.ndim >= 2) is decayed], "weight_decay": decay,
                 "lr": self.args.learning_rate, "name": f"scorer/{'decayed' if decayed else 'plain'}"}
                for decayed, decay in ((True, self.args.weight_decay), (False, 0.0))
            ]  # fmt: skip
            self.optimizer = torch.optim.AdamW(groups)
        return self.optimizer

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            write_scorer(folder, self.accelerator.unwrap_model(self.model), self._manifest)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_weights(self.accelerator.unwrap_model(model or self.model), Path(resume_from_checkpoint))


@dataclass(frozen=True)
class Prepared:
    """A training that is ready to start."""

    model: RsaModel
    reader: PictureReader
    train: RatedInputs
    test: RatedInputs
    manifest: ScorerManifest


def train(
    config: RsaTrainConfig, resume: bool = False, backbone: Backbone | None = None, known: RatedInputs | None = None
) -> Path:
    """Trains a scorer, measures it on the test part, and writes it.

    Args:
        config: the run.
        resume: go on from the newest complete checkpoint of ``config.out``, if there is one.
        backbone: a module of your own instead of the one that the configuration names.
        known: pictures that were read for another training, see :class:`~seagull_tune.rsa.opinion_data.RatedInputs`.

    Returns:
        The folder of the finished scorer, ``<out>/model``.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: see their messages.
    """
    started = time.monotonic()
    check(config, resume)
    with alone_in(Path(config.out)):
        parts = divide(read_rated(config.data), config.split)
        prepared = prepare(config, parts, backbone, known)
        trainer = build_trainer(config, prepared)
        checkpoint = last_checkpoint(Path(config.out)) if resume else None
        facts = {"pictures": len(parts[0]), "test_pictures": len(parts[1]), "groups": _groups(parts[0])}
        resolved = config.model_dump(mode="json")
        if trainer.args.should_save:
            begin_record(Path(config.out), SECTION, resolved, facts, checkpoint.name if checkpoint else None)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        metrics = measure(trainer.accelerator.unwrap_model(trainer.model), prepared.test)
        done = {**facts, "steps": trainer.state.global_step, "seconds": round(time.monotonic() - started, 1)}
        if trainer.args.should_save:
            finish(config, prepared, trainer, {**done, "metrics": metrics})
        trainer.accelerator.wait_for_everyone()
        return Path(config.out) / "model"


def check(config: RsaTrainConfig, resume: bool) -> None:
    """Refuses to overwrite a run, and a describer that is not there, before anything is loaded.

    Raises:
        ConfigError: the folder holds checkpoints and ``resume`` is off.
        CheckpointError: the describer's model is no checkpoint.
        MissingDependencyError: a tracker is not installed.
    """
    check_trackers(config.report_to)
    read_record(Path(config.out))
    if not resume and last_checkpoint(Path(config.out)) is not None:
        raise ConfigError(
            f"{config.out} holds checkpoints of an earlier run: continue it with --resume, or choose another `out`."
        )
    digest_of(config)
    start_engine()


def digest_of(config: RsaTrainConfig) -> str:
    """Content hash of the describer's model; "" where the scorer reads nothing of it.

    Raises:
        CheckpointError: there is no such model.
    """
    if config.scorer.semantics == "none":
        return ""
    try:
        return model_digest(Path(config.describer.model))
    except CheckpointError as error:
        raise CheckpointError(
            f"describer.model: {error} It says what the regions are; without one, set scorer.semantics to none."
        ) from error


def prepare(
    config: RsaTrainConfig,
    parts: tuple[Sequence[RatedPicture], Sequence[RatedPicture]],
    backbone: Backbone | None = None,
    known: RatedInputs | None = None,
) -> Prepared:
    """Features and descriptions of all pictures, and a new model whose constants are measured; see :func:`train`."""
    cache = config.cache_dir or str(Path(config.out) / "cache")
    place = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    reader = make_reader(config.scorer, config.describer, cache, place, backbone)
    train_part, test_part = (RatedInputs(part, reader, config.data.max_pixels, known) for part in parts)

    def prepare_pictures() -> None:
        train_part.prepare("training pictures")
        test_part.prepare("test pictures")

    main_first(prepare_pictures, "prepare the pictures")
    set_seed(config.seed)
    model = RsaModel(config.scorer, reader.extractor.channels, reader.width)
    chosen = range(0, len(train_part), max(1, len(train_part) // _MEASURED))
    batches = [to_batch([train_part.read(index)]) for index in chosen]
    model.measure(batches, float(np.mean([picture.quality for picture in train_part.pictures])))
    record = DescriberRecord(digest=digest_of(config), **config.describer.model_dump(exclude={"model"}))
    manifest = ScorerManifest(
        spec=config.scorer, channels=model.channels, semantics=model.semantics, scale=config.data.mos.scale,
        backbone=reader.extractor.backbone.identity, describer=record,
    )  # fmt: skip
    return Prepared(model, reader, train_part, test_part, manifest)


def build_trainer(config: RsaTrainConfig, prepared: Prepared) -> RsaTrainer:
    """The Trainer of a prepared run."""
    run, state = config.optimisation, PartialState()
    # A batch of one has no correlation; with fewer pictures than a batch, the batch is all of them.
    batch_size = min(run.batch_size, max(1, len(prepared.train) // state.num_processes))
    per_epoch = max(1, len(prepared.train) // (batch_size * state.num_processes))
    arguments = run_arguments(
        config.out, run.epochs * per_epoch, run.warmup, config.log_every, config.save_every, config.report_to,
        config.seed, per_device_train_batch_size=batch_size, dataloader_drop_last=True,
        learning_rate=run.learning_rate, weight_decay=run.weight_decay, max_grad_norm=run.max_grad_norm,
    )  # fmt: skip
    return RsaTrainer(
        manifest=prepared.manifest, losses=partial(rsa_losses, config.losses),
        resolved={**config.model_dump(mode="json"), "keep": config.keep}, model=prepared.model, args=arguments,
        train_dataset=prepared.train, data_collator=collate,
        callbacks=callbacks(Path(config.out), state.is_main_process, config.report_to),
    )  # fmt: skip


def predict(model: RsaModel, pictures: RatedInputs) -> np.ndarray:
    """Predicted qualities of pictures, float64 (M,), unclipped."""
    model.eval()
    device = next(model.parameters()).device
    found = []
    with torch.inference_mode():
        for first in range(0, len(pictures), _TEST_BATCH):
            indices = range(first, min(first + _TEST_BATCH, len(pictures)))
            score = model(to_batch([pictures.read(index) for index in indices]).to(device)).score
            found.append(score.double().cpu().numpy())
    return np.concatenate(found) if found else np.zeros(0)


def measure(model: RsaModel, pictures: RatedInputs) -> dict[str, float | int | None]:
    """Correlations of predicted and true qualities; those that do not exist are None, none at all without pictures."""
    if not len(pictures):
        return {}
    predicted = predict(model, pictures)
    true = [picture.quality for picture in pictures.pictures]
    figures = {"srcc": srcc(predicted, true), "plcc": plcc(predicted, true), "plcc_fit": plcc_logistic(predicted, true)}
    rounded = {name: None if v is None or not math.isfinite(v) else round(v, 6) for name, v in figures.items()}
    return {"n": len(pictures), **rounded}


def finish(config: RsaTrainConfig, prepared: Prepared, trainer: RsaTrainer, facts: Mapping[str, Any]) -> None:
    """Writes the finished scorer with its card, the figures beside it, and completes the record of the run."""
    out = Path(config.out)
    training = {
        **facts, "split": config.split.model_dump(), "seed": config.seed, "losses": config.losses.model_dump(),
        "optimisation": config.optimisation.model_dump(), "versions": library_versions(), "git_commit": git_commit(),
    }  # fmt: skip
    manifest = prepared.manifest.model_copy(update={"training": training})
    inside = Path(config.describer.model) if manifest.describer.digest and config.keep_describer == "inside" else None
    save_scorer(out / "model", trainer.accelerator.unwrap_model(trainer.model), manifest, inside)
    write_card(out / "model")
    if facts["metrics"]:
        atomic_write_text(out / METRICS, json.dumps(facts["metrics"], indent=1) + "\n")
    resolved = config.model_dump(mode="json")
    write_record(out, SECTION, resolved, {**facts, "log": trainer.state.log_history})


def _groups(pictures: Sequence[RatedPicture]) -> int:
    return len({picture.row.scene for picture in pictures})
