"""Two processes by torch alone: a rank without any region, and weights that FSDP2 spreads, against one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from seagull_tune.config.train import Lora, LossWeights, Stage
from seagull_tune.data.collate import Collator, TrainingItem
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.data.visual import GEOMETRY
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.model.checkpoint import load_checkpoint, save_checkpoint
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.native_statistics import NATIVE_STATISTICS
from seagull_tune.records import Message, Part, RegionLabel
from seagull_tune.training.stages import apply_stage
from seagull_tune.tune.recipe import MODEL_INPUTS, roi_losses
from tests.tiny import make_tiny_model

pytestmark = pytest.mark.integration
torch.set_num_threads(1)
WEIGHTS = LossWeights(answer=1.0, ranking=0.5)


def make_model() -> tuple[SeagullForConditionalGeneration, SeagullProcessor]:
    model, processor = make_tiny_model()
    torch.manual_seed(1)
    apply_stage(model, Stage(language_model="lora"), Lora(rank=2))
    return model, processor


def make_item(model: SeagullForConditionalGeneration, processor: SeagullProcessor, regions: int) -> TrainingItem:
    """A sample of random statistics; without regions it is a question about the picture."""
    rng = np.random.default_rng(regions)
    width, top = 2 * sum(model.vision_tower.channels), model.vision_tower.channels[-1]
    statistics = {
        "grid": rng.normal(size=(4, top)), "maps": rng.normal(size=(regions, width)),
        "image": rng.normal(size=(regions, width)), "geometry": rng.normal(size=(regions, GEOMETRY)),
        "native": rng.normal(size=(regions, 3, NATIVE_STATISTICS)), "coverage": np.ones((regions, 3)),
        "counts": np.array([regions]),
    }  # fmt: skip
    labels = tuple(RegionLabel(rng.random(), rng.random(), (1,) * len(DISTORTION_TYPES)) for _ in range(regions))
    mentions = tuple(range(regions))
    parts = (Part(image=True), Part(text="How is it?"), *(Part(region=region) for region in mentions))
    turns = [Message("user", parts), Message("assistant", (Part(text="The quality is good."),))]
    return TrainingItem(f"{regions} regions", labels, processor.encode(turns), mentions, statistics=statistics)


def _step(model: nn.Module, batch: dict[str, Any]) -> float:
    """One optimiser step; the loss before it."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    outputs = model(**{name: batch[name] for name in MODEL_INPUTS if name in batch})
    loss = torch.stack([weight * value for weight, value in roi_losses(WEIGHTS)(outputs, batch).values()]).sum()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _meet(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)


def _no_region(rank: int, folder: str) -> None:
    _meet(rank, folder)
    model, processor = make_model()
    wrapped = DistributedDataParallel(model)
    batch = Collator(processor.padding_id)([make_item(model, processor, 0 if rank else 3)])
    losses = [_step(wrapped, batch) for _ in range(2)]
    torch.save({"losses": losses, "state": model.state_dict()}, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


def test_a_rank_whose_batch_has_no_region_does_not_hang(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_no_region, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(np.isfinite([*first["losses"], *second["losses"]]))
    assert all(torch.equal(value, second["state"][name]) for name, value in first["state"].items())
    fresh = make_model()[0].state_dict()
    name = "mfe.to_global.weight"
    assert not torch.equal(first["state"][name], fresh[name]), "the other rank's regions were learnt from"


def _spread(rank: int, folder: str) -> None:
    _meet(rank, folder)
    model, processor = make_model()
    batch = Collator(processor.padding_id)([make_item(model, processor, 3)])
    for layer in model.decoder.layers:  # type: ignore[union-attr]
        fully_shard(layer)
    fully_shard(model)
    _step(model, batch)
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state: dict[str, Any] = dict(get_model_state_dict(model, options=options))
    if rank == 0:
        save_checkpoint(model, processor, Path(folder) / "c", state_dict=state)
    distributed.barrier()
    distributed.destroy_process_group()


def test_the_checkpoint_of_spread_weights_is_whole(tmp_path: Path) -> None:
    """FSDP2 on two processes that see the same batch takes the step that one process takes."""
    torch.multiprocessing.spawn(_spread, (str(tmp_path),), nprocs=2)
    model, processor = make_model()
    _step(model, Collator(processor.padding_id)([make_item(model, processor, 3)]))
    found = load_checkpoint(tmp_path / "c")[0].state_dict()
    assert found.keys() == model.state_dict().keys()
    expected = dict(model.state_dict())
    # A mapping: a failure names the tensor.
    torch.testing.assert_close({name: found[name] for name in expected}, expected, rtol=0, atol=1e-5)
