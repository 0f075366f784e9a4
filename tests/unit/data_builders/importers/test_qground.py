"""QGround-100K: what is found is shown, and a mapping is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_builders.importers import ImportSummary
from data_builders.importers.base import severity_of
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.regions.masks import encode

Bring = Callable[..., ImportSummary]


def test_qground_says_what_it_found_and_takes_a_mapping(bring: Bring, photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "qground"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    coffee = Image.open(photographs / "coffee.png")
    coffee.save(folder / "images" / "coffee.png")
    mask = np.zeros((coffee.height, coffee.width), np.uint8)
    mask[10:50, 10:60] = 255
    Image.fromarray(mask).save(folder / "masks" / "m.png")
    annotations = [{"kind": "haziness", "file": "m.png", "level": "poor"}]
    entries = [{"id": f"coffee_{who}", "image": "coffee.png", "ann_list": annotations} for who in ("ann", "bob")]
    (folder / "a.json").write_text(json.dumps(entries))
    settings = {"format": "qground", "source": folder}
    with pytest.raises(DataError, match=r"ann_list: \[\{kind: text, file: text, level: text\}.*name qground\.mask"):
        bring(tmp_path / "a", **settings, qground={"file": "a.json"})
    keys = {"file": "a.json", "mask": "file", "type": "kind", "quality": "level"}
    with pytest.raises(DataError, match=r"type 'haziness' is not in qground\.types"):
        bring(tmp_path / "b", **settings, qground={**keys, "types": {"noise": "noise"}})
    bring(tmp_path / "c", **settings, qground={**keys, "types": {"haziness": "contrast"}})
    rows = RoiDataset(tmp_path / "c")
    item = rows[0]
    assert rows.image_ids == ("coffee_ann", "coffee_bob") and item.scene_id == rows[1].scene_id == "coffee.png"
    assert item.labels[0].quality == 0.25 and item.regions[0].name == "haziness"
    assert (item.masks[0] == (mask > 0)).all()
    assert (item.labels[0].severities or ())[5] == severity_of(0.25) == 4


@pytest.mark.parametrize(
    ("level", "said"),
    [(None, "is None; a number"), ("lovely", "'lovely'; a number"), ("nan", "finite"), (7, "declared range is 0..1")],
)
def test_a_wrong_level_is_named_and_its_entry_left_out(
    bring: Bring, photographs: Path, tmp_path: Path, level: object, said: str
) -> None:
    folder = tmp_path / "qground"
    (folder / "images").mkdir(parents=True)
    coffee = Image.open(photographs / "coffee.png")
    coffee.save(folder / "images" / "coffee.png")
    region = encode(np.ones((coffee.height, coffee.width), np.bool_))
    rle = {"size": [coffee.height, coffee.width], "counts": region.counts}
    levels = {"ann": "good", "bob": level}
    entries = [
        {"id": who, "image": "coffee.png", "ann_list": [{"kind": "haze", "file": rle, "level": found}]}
        for who, found in levels.items()
    ]
    (folder / "a.json").write_text(json.dumps(entries))
    keys = {"file": "a.json", "mask": "file", "type": "kind", "quality": "level", "types": {"haze": "contrast"}}
    summary = bring(tmp_path / "out", format="qground", source=folder, qground=keys)
    assert summary.n_samples == 1 and said in summary.failed[0].reason and summary.failed[0].image_id == "bob"
    empty = [{"id": "cat", "image": "coffee.png", "ann_list": found} for found in (list[object](), None)]
    (folder / "a.json").write_text(json.dumps([*entries, *empty]))
    summary = bring(tmp_path / "more", format="qground", source=folder, qground=keys)
    reasons = [failure.reason for failure in summary.failed if failure.image_id == "cat"]
    assert summary.n_samples == 1 and "no annotation" in reasons[0] and "None; a list is needed" in reasons[1]
