"""Started by test_engines.py through accelerate's launcher: at every step one of two processes has no region."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from torch.utils.data import Dataset

from seagull_tune.config.train import TrainConfig
from seagull_tune.data.collate import Collator, TrainingItem
from seagull_tune.training.arguments import engine_in_use, start_engine, training_arguments
from seagull_tune.training.trainer import SeagullTrainer
from seagull_tune.tune.recipe import MODEL_INPUTS, roi_losses
from tests.integration.test_sharding import make_item, make_model


class TwoItems(Dataset[TrainingItem]):
    """A sample with regions and one without: two processes with a batch of one get one each, at every step."""

    def __init__(self, items: list[TrainingItem]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> TrainingItem:
        return self.items[index]


def main(out: Path) -> None:
    """Trains three steps and writes what the main process saw."""
    start_engine()
    config = TrainConfig.model_validate(
        {
            "out": str(out), "data": "none", "losses": {"answer": 1.0}, "log_every": 1,
            "optimisation": {"steps": 3, "batch_size": 1},
        }
    )  # fmt: skip
    model, processor = make_model()
    items = TwoItems([make_item(model, processor, regions) for regions in (3, 0)])
    trainer = SeagullTrainer(
        losses=roi_losses(config.losses), rates=config.optimisation.learning_rates, model_inputs=MODEL_INPUTS,
        resolved={}, model=model, args=training_arguments(config, len(items), False), train_dataset=items,
        data_collator=Collator(processor.padding_id), processing_class=processor,
    )  # fmt: skip
    before = model.state_dict()["mfe.to_global.weight"].clone()
    trainer.train()
    after = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # every process takes part
    if trainer.is_world_process_zero():
        moved = float((after["mfe.to_global.weight"].cpu() - before).abs().max())
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        out.mkdir(parents=True, exist_ok=True)
        seen = {"engine": engine_in_use(), "processes": trainer.args.world_size, "losses": losses, "moved": moved}
        (out / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
