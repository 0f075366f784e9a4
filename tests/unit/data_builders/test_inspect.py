"""Statistics and the contact sheet."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from data_builders.contact_sheet import contact_sheet, outlined
from data_builders.inspect import dataset_stats, print_stats
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.levels import QUALITY_LEVELS, nearest_level


def test_statistics_count_what_is_there(dataset: Path) -> None:
    stats = {s.split: s for s in dataset_stats(dataset)}
    assert sorted(stats) == ["test", "train"]
    for name, s in stats.items():
        rows = RoiDataset(dataset, name)
        samples = [rows.sample(i) for i in range(len(rows))]
        labels = [label for sample in samples for label in sample.labels]
        assert (s.n_samples, s.n_labels, s.n_images) == (len(rows), len(labels), len(rows.image_ids))
        assert sum(s.quality) == len(labels) and sum(s.importance) + s.importance_unscored == len(labels)
        assert sum(s.severities) == 8 * len(labels) and sum(s.area_shares) == s.n_regions
        assert s.steps == {k: n for k in range(3) if (n := sum(len(x.recipe.steps) == k for x in samples if x.recipe))}
        words = [nearest_level(label.quality) for label in labels]
        assert s.quality_levels == {word: words.count(word) for word in QUALITY_LEVELS}
        assert s.types["blur"] == sum((label.severities or (0,))[0] > 0 for label in labels)


def test_statistics_are_printed(dataset: Path) -> None:
    text = io.StringIO()
    print_stats(dataset_stats(dataset), Console(file=text, width=140))
    for word in ("train", "test", "quality", "importance", "catastrophic", "colorfulness"):
        assert word in text.getvalue()


def test_the_contact_sheet_shows_photographs_and_samples(dataset: Path, tmp_path: Path) -> None:
    file = contact_sheet(dataset, tmp_path / "new" / "sheet.png", samples_per_image=2, cell=120)
    with Image.open(file) as sheet:
        assert sheet.width == 3 * 128 and sheet.height > 3 * 120 * 0.6
        pixels = np.array(sheet.convert("RGB"))
    assert (pixels != 255).any(axis=2).mean() > 0.4
    with pytest.raises(DataError, match="no image in split 'validation'"):
        contact_sheet(dataset, tmp_path / "x.png", split="validation")


def test_outlines_follow_the_region() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    masks = np.zeros((2, 60, 80), bool)
    masks[0, 10:30, 10:40] = True
    picture = outlined(image, masks, (0,), numbers=False)
    assert picture[10, 20].any() and picture[29, 20].any()
    assert not picture[20, 20].any() and not picture[50, 60].any()
    assert outlined(image, masks, (0,), numbers=True)[12:28, 12:38].any()
    assert not image.any()
