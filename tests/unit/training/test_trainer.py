"""The Trainer: named losses, errors, atomic saves, resume."""

from __future__ import annotations

import math
import resource
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seagull_tune.config.train import LearningRates, Lora, Stage, TrainConfig
from seagull_tune.data.collate import Collator, TrainingItem
from seagull_tune.data.visual import GEOMETRY
from seagull_tune.errors import CheckpointError, TrainingError
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.model.checkpoint import load_checkpoint
from seagull_tune.model.modeling import SeagullForConditionalGeneration, SeagullOutput
from seagull_tune.model.native_statistics import NATIVE_STATISTICS
from seagull_tune.records import RegionLabel
from seagull_tune.training.arguments import training_arguments
from seagull_tune.training.order import LengthGroupedOrder
from seagull_tune.training.stages import apply_stage
from seagull_tune.training.trainer import STAGING, LossFunction, SeagullTrainer, last_checkpoint
from tests.tiny import make_tiny_model

torch.set_num_threads(1)


class Items(Dataset[TrainingItem]):
    """Eight samples of two regions with random statistics."""

    def __init__(self, model: SeagullForConditionalGeneration) -> None:
        rng = np.random.default_rng(0)
        width, top = 2 * sum(model.vision_tower.channels), model.vision_tower.channels[-1]
        self.items = []
        for number in range(8):
            statistics = {
                "grid": rng.normal(size=(4, top)), "maps": rng.normal(size=(2, width)),
                "image": rng.normal(size=(2, width)), "geometry": rng.normal(size=(2, GEOMETRY)),
                "native": rng.normal(size=(2, 3, NATIVE_STATISTICS)), "coverage": np.ones((2, 3)),
                "counts": np.array([2]),
            }  # fmt: skip
            labels = tuple(
                RegionLabel(rng.random(), rng.random(), tuple(rng.integers(0, 6, len(DISTORTION_TYPES)).tolist()))
                for _ in range(2)
            )
            self.items.append(TrainingItem(f"sample-{number}", labels, statistics=statistics))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> TrainingItem:
        return self.items[index]


def quality_loss(outputs: SeagullOutput, batch: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
    """Two losses with weights 2 and 3."""
    assert outputs.direct is not None
    log_probabilities = outputs.direct.quality.log_softmax(1)
    loss = -(batch["quality_target"] * log_probabilities).sum(1).mean()
    return {"first": (2.0, loss), "second": (3.0, loss.square())}


def make_trainer(
    tmp_path: Path, losses: LossFunction = quality_loss, lora: bool = False, **changes: Any
) -> SeagullTrainer:
    settings = {"out": str(tmp_path / "run"), "data": "d", "log_every": 1}
    config = TrainConfig.model_validate({**settings, "optimisation": {"steps": 6, "batch_size": 4}, **changes})
    model, processor = make_tiny_model()
    apply_stage(model, Stage(language_model="lora" if lora else "frozen"), Lora(rank=2))
    items = Items(model)
    return SeagullTrainer(
        losses=losses, rates=LearningRates(), model_inputs=("statistics",), resolved=config.model_dump(mode="json"),
        model=model, args=training_arguments(config, len(items), bool(config.evaluate_every)), train_dataset=items,
        eval_dataset=items if config.evaluate_every else None, data_collator=Collator(0), processing_class=processor,
    )  # fmt: skip


def _logged(trainer: SeagullTrainer, key: str) -> list[float]:
    return [float(entry[key]) for entry in trainer.state.log_history if key in entry]


def test_named_losses_are_logged_and_their_weighted_sum_is_trained(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.train()
    total, first, second = (_logged(trainer, name) for name in ("loss", "loss_first", "loss_second"))
    assert len(total) == 6
    np.testing.assert_allclose(total, 2 * np.array(first) + 3 * np.array(second), rtol=1e-4)
    assert min(total[1:]) < total[0]


def test_evaluation_is_the_loss_on_the_held_out_samples(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, evaluate_every=3)
    trainer.train()
    evaluated = _logged(trainer, "eval_loss")
    assert len(evaluated) == len(_logged(trainer, "eval_loss_first")) == 2
    trainer.model.eval()
    with torch.no_grad():
        batches = [Collator(0)(trainer.eval_dataset.items[i : i + 4]) for i in (0, 4)]
        losses = []
        for batch in batches:
            named = quality_loss(trainer.model(statistics=batch["statistics"]), batch)
            losses.append(float(sum(weight * loss for weight, loss in named.values())))
    assert evaluated[-1] == pytest.approx(np.mean(losses), rel=1e-4)
    # Evaluation does not leak into the training log.
    assert len(_logged(trainer, "loss_first")) == 6


def test_every_part_has_its_learning_rate(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, lora=True)
    groups = trainer.create_optimizer().param_groups
    assert {group["name"].split("/")[0] for group in groups} == {"mfe", "direct_head", "projector", "language_model"}
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in trainer.model.parameters())


def test_the_log_holds_the_rate_of_every_part_and_the_throughput(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock where a step takes a second, and a batch of an evaluation or a save a hundred."""
    from seagull_tune.training import trainer as room

    now = [0.0]
    real = SeagullTrainer._save_rng_state

    def save(self: SeagullTrainer, folder: str) -> None:
        now[0] += 100
        real(self, folder)

    def losses(outputs: SeagullOutput, batch: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
        now[0] += 1 if torch.is_grad_enabled() else 100
        return quality_loss(outputs, batch)

    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(SeagullTrainer, "_save_rng_state", save)
    trainer = make_trainer(tmp_path, losses=losses, lora=True, evaluate_every=2, save_every=3)
    trainer.train()
    assert now[0] > 600 and _logged(trainer, "samples_per_second") == [4.0] * 6
    rates = [entry for entry in trainer.state.log_history if "lr_mfe" in entry]
    assert len(rates) == 6 and {"lr_direct_head", "lr_language_model"} <= rates[0].keys()
    peak = LearningRates()
    assert rates[0]["lr_mfe"] / peak.mfe == pytest.approx(rates[0]["lr_language_model"] / peak.language_model)


def test_accumulated_steps_are_averaged(tmp_path: Path) -> None:
    """Two half batches make the gradient of a whole one."""
    norms = []
    for number, run in enumerate(({"batch_size": 4, "accumulate": 2}, {"batch_size": 8, "accumulate": 1})):
        trainer = make_trainer(tmp_path / str(number), losses=_linear_loss, optimisation={"steps": 1, **run})
        trainer.train()
        norms.append((_logged(trainer, "loss")[0], _logged(trainer, "grad_norm")[0]))
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def _linear_loss(outputs: SeagullOutput, batch: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
    return {"first": quality_loss(outputs, batch)["first"]}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, value: float) -> None:
    calls: list[int] = []

    def breaks(outputs: SeagullOutput, batch: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
        named = quality_loss(outputs, batch)
        calls.append(1)
        return named if len(calls) < 3 else {**named, "second": (1.0, named["second"][1] * value)}

    message = r"not finite at step 2: .*'second': (nan|inf).*samples: sample-\d, sample-\d"
    with pytest.raises(TrainingError, match=message):
        make_trainer(tmp_path, losses=breaks).train()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_that_are_not_finite_stop_the_run_before_the_step(tmp_path: Path, accumulate: int) -> None:
    """The slope of a root is infinite at 0: times 0 it is no number, while the loss is one."""
    calls: list[int] = []

    def breaks(outputs: SeagullOutput, batch: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
        named = quality_loss(outputs, batch)
        calls.append(1)
        flat = (0.0 * named["first"][1]).sqrt()
        return named if len(calls) <= 2 * accumulate else {**named, "flat": (1.0, flat)}

    settings = {"steps": 6, "batch_size": 2, "accumulate": accumulate}
    trainer = make_trainer(tmp_path, losses=breaks, optimisation=settings)
    with pytest.raises(TrainingError, match=r"gradients are not finite at step 2, .*norm is nan") as caught:
        trainer.train()
    assert str(caught.value).count("sample-") == 2 * accumulate, "those of the step, and no others"
    assert all(bool(torch.isfinite(p).all()) for p in trainer.model.parameters())


def test_samples_of_about_one_length_are_neighbours(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, optimisation={"steps": 6, "batch_size": 2, "accumulate": 2})
    assert not isinstance(trainer._get_train_sampler(), LengthGroupedOrder)
    trainer._lengths = [1, 9, 1, 9, 1, 9, 1, 9]
    seen = list(trainer._get_train_sampler())
    assert sorted(seen) == list(range(8)) and {len({i % 2 for i in seen[k : k + 4]}) for k in (0, 4)} == {1}
    trainer.train()
    assert trainer.state.global_step == 6


def test_another_engine_than_the_launcher_asked_for_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seagull_tune.training import trainer as room

    trainer = make_trainer(tmp_path)
    monkeypatch.setattr(room, "engine_in_use", lambda: "fsdp")
    with pytest.raises(TrainingError, match="asked for the engine 'fsdp', but 'single' runs"):
        trainer.train()


# -- saves -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [False, True])
def test_checkpoints_of_a_run_are_whole_and_loadable(tmp_path: Path, lora: bool) -> None:
    trainer = make_trainer(tmp_path, lora=lora, save_every=2, keep=2)
    trainer.train()
    run = tmp_path / "run"
    assert sorted(path.name for path in run.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    assert not (run / STAGING).exists()
    found = last_checkpoint(run)
    assert found == run / "checkpoint-6"
    model, _ = load_checkpoint(found)
    trained = trainer.model.state_dict()
    assert model.state_dict().keys() == trained.keys()
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    assert all((found / name).is_file() for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"))


def test_a_save_that_fails_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(tmp_path, save_every=2)
    real = SeagullTrainer._save_rng_state

    def dies(self: SeagullTrainer, folder: str) -> None:
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        real(self, folder)

    monkeypatch.setattr(SeagullTrainer, "_save_rng_state", dies)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    run = tmp_path / "run"
    assert (run / STAGING / "checkpoint-4").is_dir(), "the kill came in the middle of the save"
    assert last_checkpoint(run) == run / "checkpoint-2"
    monkeypatch.undo()
    again = make_trainer(tmp_path, save_every=2)
    again.train(resume_from_checkpoint=str(run / "checkpoint-2"))
    assert last_checkpoint(run) == run / "checkpoint-6" and not (run / STAGING).exists()


@pytest.mark.parametrize("part", ["_save", "_save_optimizer_and_scheduler"])
def test_a_full_disk_during_a_save_is_told_and_resumable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A limit on file sizes stands for the full disk: the weights do not fit, or only the optimiser's state."""
    trainer = make_trainer(tmp_path, save_every=2)
    real = getattr(SeagullTrainer, part)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def save(self: SeagullTrainer, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50 * 1024, limits[1]))
        try:
            real(self, *args, **kwargs)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(SeagullTrainer, part, save)
    with pytest.raises(CheckpointError, match=r"\.saving cannot be written: .*Free some disk and go on with --resume"):
        trainer.train()
    monkeypatch.undo()
    found = last_checkpoint(tmp_path / "run")
    assert found is not None and found.name == "checkpoint-2"
    whole = (tmp_path / "run" / STAGING / "checkpoint-4" / "checkpoint.json").is_file()
    assert whole == (part != "_save")
    make_trainer(tmp_path, save_every=2).train(resume_from_checkpoint=str(found))
    assert last_checkpoint(tmp_path / "run") == tmp_path / "run" / "checkpoint-6"


def test_half_folders_are_no_checkpoints(tmp_path: Path) -> None:
    folders = {"checkpoint-2": True, "checkpoint-10": True, "checkpoint-30": False, "checkpoint-x": True}
    for name, complete in folders.items():
        (tmp_path / name).mkdir()
        if complete:
            (tmp_path / name / "trainer_state.json").write_text("{}")
    (tmp_path / "checkpoint-30" / "trainer_state.json").write_text('{"global_step": 3')
    (tmp_path / STAGING / "checkpoint-40").mkdir(parents=True)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert last_checkpoint(tmp_path / "none") is None


def test_a_damaged_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    make_trainer(tmp_path, lora=True, save_every=3).train()
    folder = tmp_path / "run" / "checkpoint-3"
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors.*damaged"):
        make_trainer(tmp_path, lora=True).train(resume_from_checkpoint=str(folder))


def test_a_checkpoint_without_the_state_of_its_run_is_not_resumed(tmp_path: Path) -> None:
    """The Trainer would begin with a new optimiser, or another order, and say nothing."""
    make_trainer(tmp_path, save_every=3).train()
    folder = tmp_path / "run" / "checkpoint-3"
    whole = {name: (folder / name).read_bytes() for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth")}
    for name, content in whole.items():
        for damage, message in (
            (content[: len(content) // 2], r"is damaged, or of a run with other parts"),
            (b"", "is damaged"),
            (None, rf"checkpoint-3 lacks {name}"),
        ):
            (folder / name).unlink()
            if damage is not None:
                (folder / name).write_bytes(damage)
            with pytest.raises(CheckpointError, match=rf"{message}.*Remove it, and --resume goes on"):
                make_trainer(tmp_path).train(resume_from_checkpoint=str(folder))
            (folder / name).write_bytes(content)
    trainer = make_trainer(tmp_path)
    trainer.train(resume_from_checkpoint=str(folder))
    assert trainer.state.global_step == 6


def test_a_frozen_tower_gets_no_gradient_and_only_adapters_move(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, lora=True)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    for name, parameter in trainer.model.named_parameters():
        if name.startswith("vision_tower.") or (name.startswith("language_model.") and "lora_" not in name):
            assert parameter.grad is None, name
            assert torch.equal(trainer.model.state_dict()[name], before[name]), name
    moved = [name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])]
    assert any(name.startswith("mfe.") for name in moved) and any(name.startswith("direct_head.") for name in moved)
