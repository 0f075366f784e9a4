"""Exports: pixels equal what the reader renders, labels say what the rows say, and a killed export goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from data_builders.exporters import ExportSummary, export_dataset
from data_builders.exporters.base import file_stem, json_chunks
from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.exchange import ExportConfig
from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import ConfigError, DataError
from seagull_tune.files import atomic_write
from seagull_tune.instructions.converse import build_conversation, visit_seed
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import DISTORTION_TYPES


def _export(dataset: Path, out: Path, **settings: Any) -> ExportSummary:
    config = ExportConfig.model_validate(settings)
    return export_dataset(dataset, out, config, show_progress=False)


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_json_is_written_piece_by_piece() -> None:
    for value in ([], [1], [{"a": [2]}, None]):
        assert json.loads(b"".join(json_chunks(value))) == value
    for entries in ({}, {"a": 1}, {"a": [1], "ü": {"b": 2}}):
        assert json.loads(b"".join(json_chunks(entries.items(), "{}"))) == entries
    assert file_stem("a/b.jpg#0003") == "a__b.jpg-0003"


def test_seagull_layout(dataset: Path, tmp_path: Path) -> None:
    rows = RoiDataset(dataset)
    summary = _export(dataset, tmp_path / "out", format="seagull", workers=2)
    rois = json.loads((tmp_path / "out/Labels/SEAGULL-100w_mask-based-rois.json").read_text())
    scores = json.loads((tmp_path / "out/Labels/SEAGULL-100w_scores.json").read_text())
    assert sorted(rois) == ["astronaut", "chelsea", "coffee"]
    by_id = {rows.sample(i).sample_id: rows[i] for i in range(len(rows))}
    distorted = {name: r for name, r in by_id.items() if r.sample.recipe is not None and not r.sample.recipe.pristine}
    assert summary.n_entries == len(scores) == len(distorted)
    assert summary.n_skipped == len(by_id) - len(distorted)
    assert summary.n_pictures == summary.n_written == 3 + len(distorted)
    for place, entry in scores.items():
        kind, numbered, stem = place.split("/")
        rendered = by_id[entry["sample_id"]]
        assert numbered.startswith(f"{kind}_") and stem == rendered.image_id
        assert (_pixels(tmp_path / f"out/Dist.Images/{place}.png") == rendered.image).all()
        assert (_pixels(tmp_path / f"out/Ref.Images/{stem}.png") == rendered.reference).all()
        assert entry["quality"] == pytest.approx([label.quality for label in rendered.labels], abs=1e-6)
        said = [[d.get(name, 0) for name in DISTORTION_TYPES] for d in entry["distortions"]]
        assert said == [list(label.severities or ()) for label in rendered.labels]
        types = {step.type for step in rendered.sample.recipe.steps} if rendered.sample.recipe else set()
        assert kind == ("Mixed" if len(types) > 1 else next(iter(types)).capitalize())
        for region, mask in zip(rois[stem], rendered.masks, strict=True):
            assert (coco_mask.decode({"size": region["size"], "counts": region["counts"]}) == mask).all()


def test_coco_is_read_by_pycocotools(dataset: Path, tmp_path: Path) -> None:
    _export(dataset, tmp_path / "out", format="coco", split="test")
    rows = RoiDataset(dataset, "test")
    found = COCO(str(tmp_path / "out/instances.json"))
    assert len(found.imgs) == len(rows)
    for index, image in enumerate(found.dataset["images"]):
        rendered = rows[index]
        assert image["sample_id"] == rendered.sample.sample_id and image["split"] == "test"
        assert (_pixels(tmp_path / "out/images" / image["file_name"]) == rendered.image).all()
        annotations = found.loadAnns(found.getAnnIds(imgIds=[image["id"]]))
        for annotation, mask, label in zip(annotations, rendered.masks, rendered.labels, strict=True):
            assert (found.annToMask(annotation) == mask).all() and annotation["area"] == mask.sum()
            ys, xs = np.nonzero(mask)
            box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
            assert annotation["bbox"] == box
            assert annotation["quality"] == pytest.approx(label.quality, abs=1e-6)
            assert annotation["severities"] == {
                name: s for name, s in zip(DISTORTION_TYPES, label.severities or (), strict=True) if s
            }


def test_llava_conversations_are_those_of_a_training(dataset: Path, tmp_path: Path) -> None:
    summary = _export(dataset, tmp_path / "out", format="llava", passes=2, pictures=False)
    rows = RoiDataset(dataset)
    entries = json.loads((tmp_path / "out/llava.json").read_text())
    assert summary.n_entries == len(entries) == 2 * len(rows) and not (tmp_path / "out/images").exists()
    prompts, settings = load_prompts(), ConversationSettings()
    for number, entry in enumerate(entries):
        index, visit = divmod(number, 2)
        sample = rows.sample(index)
        seed = visit_seed(sample.prompt_seed, visit)
        conversation = build_conversation(sample.labels, seed, prompts, settings)
        assert entry["id"] == f"{sample.sample_id}/{visit}" and entry["system"] == prompts.system
        assert [turn["from"] for turn in entry["conversations"]] == ["human", "gpt"] * (len(conversation.messages) // 2)
        assert entry["conversations"][0]["value"].startswith("<image>\n")
        texts = [turn["value"].replace("<image>\n", "<image>") for turn in entry["conversations"]]
        assert texts == [message.text for message in conversation.messages[1:]]
        assert len(entry["regions"]) == len(conversation.region_order)


def test_llava_pairs_show_two_pictures(photographs: Path, tmp_path: Path) -> None:
    values = {"source": str(photographs), "samples_per_image": 3, "seed": 1, "mix": {"pairs": 0.8}}
    build_dataset(BuildConfig.model_validate(values), tmp_path / "set", show_progress=False)
    rows = RoiDataset(tmp_path / "set")
    assert _export(tmp_path / "set", tmp_path / "one", format="llava", pictures=False).n_entries == len(rows)
    summary = _export(tmp_path / "set", tmp_path / "out", format="llava", pairs=True)
    entries = json.loads((tmp_path / "out/llava.json").read_text())
    assert summary.n_entries == len(entries) == len(rows) + len(rows.pairs) and rows.pairs
    of_pairs = [entry for entry in entries if isinstance(entry["image"], list)]
    for (first, second), entry in zip(rows.pairs, of_pairs, strict=True):
        assert entry["id"] == rows.sample(first).pair_id
        names = {f"images/{file_stem(rows.sample(i).sample_id)}.png": rows[i] for i in (first, second)}
        assert set(entry["image"]) == set(names)
        assert all((_pixels(tmp_path / "out" / name) == names[name].image).all() for name in entry["image"])
        assert entry["conversations"][0]["value"].startswith("<image>\n<image>\n")
        assert entry["region_images"] == [0, 1] * (len(entry["regions"]) // 2)
        assert entry["regions"][::2] == entry["regions"][1::2]


def test_a_killed_export_goes_on(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _export(dataset, tmp_path / "whole", format="coco")
    calls = []

    def full_at_the_third(target: Path, chunks: Any) -> None:
        calls.append(target)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        atomic_write(target, chunks)

    monkeypatch.setattr("data_builders.exporters.pictures.atomic_write", full_at_the_third)
    with pytest.raises(DataError, match=r"the disk is full.*run the same export again"):
        _export(dataset, tmp_path / "out", format="coco")
    monkeypatch.undo()
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2 and not (tmp_path / "out/instances.json").exists()
    summary = _export(dataset, tmp_path / "out", format="coco")
    assert (summary.n_pictures, summary.n_written) == (12, 10)
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    assert all((tmp_path / "out" / f).read_bytes() == (tmp_path / "whole" / f).read_bytes() for f in files)
    assert _export(dataset, tmp_path / "out", format="coco").n_written == 0


def test_folders_of_something_else_are_refused(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("x")
    with pytest.raises(DataError, match=r"not empty and is no export"):
        _export(dataset, tmp_path / "out", format="coco")
    _export(dataset, tmp_path / "coco", format="coco", pictures=False)
    with pytest.raises(DataError, match=r"another export \(format differ\)"):
        _export(dataset, tmp_path / "coco", format="llava")
    with pytest.raises(DataError, match=r"no image in split 'validation'"):
        _export(dataset, tmp_path / "none", format="coco", split="validation")


def test_missing_photographs_are_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"astronaut\.png.*image_root"):
        _export(dataset, tmp_path / "out", format="coco", image_root=tmp_path)


def test_two_names_for_one_file_are_refused(dataset: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    copy = tmp_path / "set"
    shutil.copytree(dataset, copy)
    for table in ("images", "samples"):
        file = min((copy / table).glob("*.parquet"))
        old = pq.read_table(file)
        renames = {"astronaut": "a/b", "chelsea": "a__b"}
        rows = [{**row, "image_id": renames.get(row["image_id"], row["image_id"])} for row in old.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), file)
    with pytest.raises(DataError, match=r"'a/b' and 'a__b' would be the same file Ref\.Images/a__b\.png"):
        _export(copy, tmp_path / "out", format="seagull")


def test_the_seagull_layout_needs_pictures() -> None:
    from seagull_tune.config.base import load_config

    with pytest.raises(ConfigError, match="one of pictures"):
        load_config(ExportConfig, None, ["format=seagull", "pictures=false"])
    with pytest.raises(ConfigError, match="'coco' has none; export them as 'llava'"):
        load_config(ExportConfig, None, ["format=coco", "pairs=true"])


def test_long_ids_are_file_names_too() -> None:
    assert file_stem("a/b.jpg#0003") == "a__b.jpg-0003"
    long = ["ü" * 300 + f"#{number:04d}" for number in range(2)]
    names = [file_stem(name) for name in long]
    assert len(set(names)) == 2 and names[1].endswith("ü-0001") and max(len(name.encode()) for name in names) <= 200
    assert file_stem("x" * 200) == "x" * 200 != file_stem("x" * 201)
