"""Ratings of people reach the losses: a file of ratings -> data set -> conversation -> batch -> gradients."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from data_builders.importers import import_dataset
from seagull_tune.config.exchange import ImportConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.levels import soft_levels
from seagull_tune.tune.recipe import MODEL_INPUTS, build_trainer, prepare

SCORES = {
    ("coffee", "label 1"): (2.0, 2.0, 2.0, 2.0),  # all agree
    ("coffee", "label 2"): (3.0, 5.0, 2.0, 4.0),  # nobody does
    ("chelsea", "label 1"): (4.0, 4.5, 3.5, 4.4),
    ("chelsea", "label 2"): (1.0, 1.2, 1.6, 1.0),
}


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Two photographs of two halves each, rated by four people from 1 to 5."""
    for folder in ("images", "regions"):
        (tmp_path / folder).mkdir()
    lines = ["image,region,rater,score"]
    for name in ("chelsea", "coffee"):
        small = cv2.resize(getattr(skimage.data, name)(), (96, 72), interpolation=cv2.INTER_AREA)
        Image.fromarray(small).save(tmp_path / "images" / f"{name}.png")
        halves = np.repeat([1, 2], 48).astype(np.uint8)
        Image.fromarray(np.tile(halves, (72, 1))).save(tmp_path / "regions" / f"{name}.png")
    for (name, region), scores in SCORES.items():
        lines += [f"{name}.png,{region},rater {rater},{score}" for rater, score in enumerate(scores)]
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    config = {
        "format": "ratings", "source": tmp_path / "ratings.csv", "images": tmp_path / "images",
        "regions": tmp_path / "regions", "split": {"all_into": "train"},
        "ratings": {
            "scale": {"low": 1, "high": 5, "higher_is_better": True}, "rule": {"min_srcc": -1.0, "bt500": False},
        },
    }  # fmt: skip
    import_dataset(ImportConfig.model_validate(config), tmp_path / "set", show_progress=False)
    return tmp_path / "set"


def _expected(name: str, region: int) -> tuple[float, ...]:
    scores = np.array(SCORES[name, f"label {region + 1}"])
    return soft_levels(float(scores.mean() - 1) / 4, deviation=float(scores.std(ddof=1)) / 4)


def test_the_level_losses_follow_mean_and_deviation(rated: Path, checkpoint: Path, tmp_path: Path) -> None:
    config = TrainConfig.model_validate(
        {
            "out": str(tmp_path / "run"), "data": str(rated), "init": str(checkpoint),
            "stage": {"language_model": "lora"}, "lora": {"rank": 2}, "losses": {"level": 1.0},
            "conversation": {"turns": 2},
        }
    )  # fmt: skip
    prepared = prepare(config)
    trainer = build_trainer(config, prepared)
    assert len(prepared.train) == 2
    for item in (prepared.train[index] for index in range(2)):
        batch = trainer.data_collator([item])
        name = item.name.removesuffix(".png#ratings")
        expected = torch.tensor([_expected(name, region) for region in range(2)])
        torch.testing.assert_close(batch["quality_target"], expected, rtol=0, atol=1e-5)
        asked = list(item.mentions)
        assert sorted(asked) == [0, 1] and batch["slot_targets"].shape == (2, 5)
        torch.testing.assert_close(batch["slot_targets"], expected[asked], rtol=0, atol=1e-5)

        outputs = prepared.model(**{key: batch[key] for key in MODEL_INPUTS if key in batch})
        outputs.logits.retain_grad()
        trainer.losses(outputs, batch)["level"][1].backward()
        slots, words = batch["slot_rows"], batch["slot_candidates"]
        found = outputs.logits.grad[slots].gather(1, words)
        # The gradient of a mean of two cross-entropies: (p - target) / 2.
        p = outputs.logits.detach()[slots].softmax(dim=1).gather(1, words)
        torch.testing.assert_close(found, (p - expected[asked]) / 2, rtol=0, atol=1e-6)
    rows = RoiDataset(rated, "train")
    wide = {label.quality_deviation for index in range(2) for label in rows.sample(index).labels}
    assert min(d for d in wide if d is not None) == 0.0, "the region that all agreed on"
