"""Imports: what goes in comes out of the reader; what is wrong is named, all of it at once."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
from PIL import Image

from data_builders.exporters import export_dataset
from data_builders.importers import ImportSummary, import_dataset
from data_builders.importers.base import severity_of
from data_builders.importers.coco import import_regions
from data_builders.pipeline import build_dataset
from data_builders.validate import validate_dataset
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.exchange import ExportConfig, ImportConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.data.schema import read_manifest
from seagull_tune.errors import ConfigError, DataError
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.regions.masks import encode

SCALE = {"low": 1.0, "high": 5.0, "higher_is_better": True}


def _import(out: Path, **settings: Any) -> ImportSummary:
    return import_dataset(ImportConfig.model_validate(settings), out, show_progress=False)


@pytest.fixture(scope="session")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set in the layout of SEAGULL-100w."""
    out = tmp_path_factory.mktemp("exported") / "100w"
    export_dataset(dataset, out, ExportConfig(format="seagull"), show_progress=False)
    return out


@pytest.fixture
def hundred(exported: Path, tmp_path: Path) -> Path:
    """A copy of it whose labels may be changed; the pictures are links."""
    for path in sorted(exported.rglob("*")):
        target = tmp_path / "100w" / path.relative_to(exported)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes()) if path.suffix == ".json" else os.link(path, target)
    return tmp_path / "100w"


def _scores(folder: Path) -> tuple[Path, dict[str, Any]]:
    file = folder / "Labels/SEAGULL-100w_scores.json"
    return file, json.loads(file.read_text())


def test_a_round_trip_through_the_seagull_layout(dataset: Path, exported: Path, tmp_path: Path) -> None:
    summary = _import(tmp_path / "back", format="seagull", source=exported, licence="MIT")
    before = {item.sample.sample_id: item for item in RoiDataset(dataset)}
    scores = _scores(exported)[1]
    assert summary.n_samples == len(scores) and not summary.failed and summary.n_images == 3
    for item in RoiDataset(tmp_path / "back"):
        stem, numbered = item.sample.sample_id.split("#")
        old = before[scores[f"{numbered.split('_')[0]}/{numbered}/{stem}"]["sample_id"]]
        assert (item.image == old.image).all() and (item.masks == old.masks).all()
        assert item.sample.recipe is None and item.sample.picture is not None
        for mine, theirs in zip(item.labels, old.labels, strict=True):
            assert mine.severities == theirs.severities
            assert mine.quality == pytest.approx(theirs.quality, abs=2e-6)
            assert mine.importance == pytest.approx(theirs.importance, abs=2e-6)
    assert validate_dataset(tmp_path / "back", show_progress=False).ok
    manifest = read_manifest(tmp_path / "back")
    assert manifest["licence"] == "MIT" and "SEAGULL-100w" in manifest["label_source"]


def test_other_keys_can_be_named(hundred: Path, tmp_path: Path) -> None:
    file, scores = _scores(hundred)
    nested: dict[str, Any] = {}
    for place, entry in scores.items():
        kind, numbered, stem = place.split("/")
        rois = [{"q": 100 * q} for q in entry["quality"]]
        nested.setdefault(kind, {}).setdefault(numbered, {})[stem + ".png"] = {"rois": rois}
    file.write_text(json.dumps(nested))
    source = {"format": "seagull", "source": hundred}
    found = r"'\w+' names no picture.*the entry is \{\w+_0: \{\w+\.png: \{rois.*docs/data-format\.md"
    with pytest.raises(DataError, match=found):
        _import(tmp_path / "a", **source)
    keys = {
        "depth": 3, "picture": "@1/@2", "quality": "rois.*.q", "importance": None, "distortions": None,
        "scale": {"low": 0, "high": 100, "higher_is_better": True},
    }  # fmt: skip
    single = {place for place in scores if not place.startswith("Mixed")}
    summary = _import(tmp_path / "b", **source, seagull={"scores": keys})
    assert summary.n_samples == len(single)
    assert all("distortion 'mixed'" in failure.reason for failure in summary.failed)
    for item in RoiDataset(tmp_path / "b"):
        kind = item.sample.sample_id.split("#")[1].split("_")[0].lower()
        for label in item.labels:
            expected = [severity_of(label.quality) if name == kind else 0 for name in DISTORTION_TYPES]
            assert list(label.severities) == expected and label.importance is None
    assert "estimated" in read_manifest(tmp_path / "b")["label_source"]


def test_wrong_scores_are_named_and_left_out(hundred: Path, tmp_path: Path) -> None:
    file, scores = _scores(hundred)
    places = list(scores)
    scores[places[0]]["quality"][0] = None
    scores[places[1]]["quality"][0] = float("nan")
    scores[places[2]]["quality"][0] = 1.5
    scores[places[3]]["quality"].pop()
    scores[places[4]]["importance"][0] = -0.5
    file.write_text(json.dumps(scores))
    summary = _import(tmp_path / "a", format="seagull", source=hundred)
    reasons = " | ".join(failure.reason for failure in summary.failed)
    assert len(summary.failed) == 5 and summary.n_samples == len(places) - 5
    for said in ("is None; a number", "is nan; a finite", "1.5; the declared range is 0..1", "qualities", "-0.5"):
        assert said in reasons
    assert "5 left out" in summary.describe() and places[0] in summary.describe()


def test_missing_pictures_and_folders_are_named(hundred: Path, tmp_path: Path) -> None:
    gone = next(iter(sorted((hundred / "Dist.Images").rglob("*.png"))))
    gone.unlink()
    summary = _import(tmp_path / "a", format="seagull", source=hundred)
    assert [gone.name in failure.reason for failure in summary.failed] == [True]
    with pytest.raises(DataError, match=r"not laid out like SEAGULL-100w: Ref\.Images, Dist\.Images"):
        _import(tmp_path / "b", format="seagull", source=tmp_path)


def test_a_cut_file_leaves_nothing_behind(hundred: Path, tmp_path: Path) -> None:
    file = _scores(hundred)[0]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"SEAGULL-100w_scores\.json is not the JSON"):
        _import(tmp_path / "out", format="seagull", source=hundred)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("out*"))


def test_folders_in_use_are_refused(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("x")
    with pytest.raises(DataError, match="holds something already"):
        _import(tmp_path / "full", format="seagull", source=exported)
    running = filelock.FileLock(tmp_path / ".out.lock")
    with running, pytest.raises(DataError, match="Another import is running"):
        _import(tmp_path / "out", format="seagull", source=exported)


def test_a_full_disk_is_told(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(DataError, match="the disk is full"):
        _import(tmp_path / "out", format="seagull", source=exported)
    assert not (tmp_path / "out").exists()


def _csv(folder: Path, rows: list[dict[str, Any]]) -> Path:
    with (folder / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "scores.csv"


def test_mos_of_whole_pictures(photographs: Path, tmp_path: Path) -> None:
    rows = [
        {"image": "astronaut.png", "mos": "4.0", "who": "a"},
        {"image": "chelsea.png", "mos": "1", "who": "a"},
        {"image": "coffee.png", "mos": "2.5", "who": "b"},
    ]
    file = _csv(tmp_path, rows)
    summary = _import(
        tmp_path / "out", format="mos", source=file, images=photographs, split={"test": 0.5},
        mos={"scale": {**SCALE, "higher_is_better": False}, "scene": "who"},
    )  # fmt: skip
    assert (summary.n_images, summary.n_samples, summary.n_regions) == (3, 3, 0)
    found = {item.image_id: item for item in RoiDataset(tmp_path / "out")}
    assert found["astronaut.png"].image_quality == pytest.approx(0.25, abs=1e-6)
    opinion = found["coffee.png"].sample.opinion
    assert opinion is not None and (opinion.value, opinion.low, opinion.high) == (2.5, 1.0, 5.0)
    assert (found["coffee.png"].image == np.asarray(Image.open(photographs / "coffee.png"))).all()
    assert {found[name].scene_id for name in ("astronaut.png", "chelsea.png")} == {"a"}
    assert len(RoiDataset(tmp_path / "out", "test")) in (1, 2)
    assert validate_dataset(tmp_path / "out", show_progress=False).ok


def test_a_mos_without_a_range_is_refused() -> None:
    for mos in ([], ["mos.score=x"], ["mos.scale={low: 1, high: 5}"]):
        with pytest.raises(ConfigError, match=r"range and direction|scale|higher_is_better"):
            load_config(ImportConfig, None, ["format=mos", "source=x.csv", *mos])
    with pytest.raises(ConfigError, match="low must be below high"):
        load_config(
            ImportConfig, None,
            ["format=mos", "source=x.csv", "mos.scale={low: 5, high: 1, higher_is_better: true}"],
        )  # fmt: skip


def test_all_wrong_rows_of_a_mos_file_are_named(photographs: Path, tmp_path: Path) -> None:
    names = ("a", "b", "c", "d", "", "a")
    scores = ("nan", "", "7", "good", "2", "3")
    file = _csv(tmp_path, [{"image": name, "mos": score} for name, score in zip(names, scores, strict=True)])
    with pytest.raises(DataError) as caught:
        _import(tmp_path / "out", format="mos", source=file, mos={"scale": SCALE})
    said = str(caught.value)
    assert "6 of 6 rows are wrong" in said
    for line in (
        "line 2: a: the score is 'nan'", "line 3: b: the score is missing", "line 4: c: A MOS is 7.0",
        "line 5: d: the score is 'good'", "line 6: the name", "line 7: a occurs twice",
    ):  # fmt: skip
        assert line in said
    with pytest.raises(DataError, match=r"no column 'moss'\. Did you mean 'mos'"):
        _import(tmp_path / "out", format="mos", source=file, mos={"scale": SCALE, "score": "moss"})
    with pytest.raises(DataError, match="cannot be read"):
        _import(tmp_path / "out", format="mos", source=tmp_path / "none.csv", mos={"scale": SCALE})


def test_unreadable_pictures_of_a_mos_file_are_left_out(photographs: Path, tmp_path: Path) -> None:
    file = _csv(tmp_path, [{"image": name, "mos": "3"} for name in ("coffee.png", "gone.png")])
    summary = _import(tmp_path / "out", format="mos", source=file, images=photographs, mos={"scale": SCALE})
    assert summary.n_samples == 1 and summary.failed[0].image_id == "gone.png"
    file = _csv(tmp_path, [{"image": "gone.png", "mos": "3"}])
    with pytest.raises(DataError, match=r"(?s)Nothing of .*could be used.*gone\.png"):
        _import(tmp_path / "two", format="mos", source=file, images=photographs, mos={"scale": SCALE})


def test_real_opinion_scores(tmp_path: Path) -> None:
    data = os.environ.get("SEAGULL_TUNE_TEST_DATA")
    if not data or not (Path(data) / "agiqa3k" / "mos.csv").is_file():
        pytest.skip("SEAGULL_TUNE_TEST_DATA names no folder with agiqa3k/mos.csv")
    folder = Path(data) / "agiqa3k"
    with (folder / "mos.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (folder / "images" / row["name"]).is_file()][:40]
    scale = {"low": 0.0, "high": 5.0, "higher_is_better": True}
    summary = _import(
        tmp_path / "out", format="mos", source=_csv(tmp_path, rows), images=folder / "images",
        mos={"scale": scale, "image": "name", "score": "mos_quality", "scene": "prompt"},
    )  # fmt: skip
    assert summary.n_samples == 40
    first = RoiDataset(tmp_path / "out")[0]
    assert first.image_quality == pytest.approx(float(rows[0]["mos_quality"]) / 5, abs=1e-6)


def _instances(folder: Path) -> dict[str, Any]:
    mask = np.zeros((20, 30), bool)
    mask[2:10, 3:20] = True
    return {
        "images": [{"id": 7, "file_name": "val/cat.jpg", "height": 20, "width": 30}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1,
             "segmentation": {"size": [20, 30], "counts": encode(mask).counts}},
            {"id": 2, "image_id": 7, "category_id": 1, "segmentation": [[0, 0, 10, 0, 10, 10, 0, 10]]},
            {"id": 3, "image_id": 7, "category_id": 1, "segmentation": {"size": [9, 9], "counts": "0"}},
            {"id": 4, "image_id": 8, "category_id": 1, "segmentation": []},
        ],
    }  # fmt: skip


def test_coco_instances_become_regions_for_a_build(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    coffee = Image.open(photographs / "coffee.png")
    coffee.save(folder / "coffee.png")
    shape = {"file_name": "coffee.png", "height": coffee.height, "width": coffee.width}
    content = _instances(tmp_path)
    content["images"].append({"id": 8, **shape})
    corners = [[10, 10, 90, 10, 90, 80, 10, 80]]
    content["annotations"] += [
        {"id": 5, "image_id": 8, "category_id": 1, "segmentation": corners},
        {"id": 6, "image_id": 8, "category_id": 9, "segmentation": [[30, 30, 120, 30, 120, 90]]},
    ]
    (tmp_path / "i.json").write_text(json.dumps(content))
    config = ImportConfig(format="coco", source=tmp_path / "i.json")
    summary = import_regions(config, tmp_path / "regions", show_progress=False)
    assert (summary.n_images, summary.n_regions) == (2, 4)
    assert [failure.image_id for failure in summary.failed] == ["annotation 3", "annotation 4"]
    regions = {"method": "label_maps", "dir": tmp_path / "regions"}
    build = BuildConfig.model_validate({"source": str(folder), "samples_per_image": 1, "regions": regions})
    build_dataset(build, tmp_path / "set", show_progress=False)
    item = RoiDataset(tmp_path / "set")[0]
    assert [region.name for region in item.regions] == ["cat", ""] and item.masks[0][20:70, 20:80].all()
    assert (item.masks[0] & item.masks[1]).any()  # instances may overlap


def test_coco_panoptic_masks(tmp_path: Path) -> None:
    ids = np.zeros((20, 30), np.int64)
    ids[:, :15], ids[:, 15:] = 70000, 258
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    (tmp_path / "png").mkdir()
    Image.fromarray(colours).save(tmp_path / "png" / "cat.png")
    content = _instances(tmp_path)
    segments = [{"id": 70000, "category_id": 1}, {"id": 258, "category_id": 2}]
    content["annotations"] = [{"image_id": 7, "file_name": "cat.png", "segments_info": segments}]
    (tmp_path / "p.json").write_text(json.dumps(content))
    config = ImportConfig(format="coco", source=tmp_path / "p.json", images=tmp_path / "png")
    assert import_regions(config, tmp_path / "out", show_progress=False).n_regions == 2
    found = json.loads((tmp_path / "out" / "cat.json").read_text())
    assert [entry["name"] for entry in found] == ["cat", ""]
    with pytest.raises(DataError, match="give --images"):
        import_regions(config.model_copy(update={"images": None}), tmp_path / "b", show_progress=False)


def test_what_is_not_coco_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"pictures": [{"id": 1}]}')
    config = ImportConfig(format="coco", source=tmp_path / "x.json")
    with pytest.raises(DataError, match=r"is not COCO.*found pictures"):
        import_regions(config, tmp_path / "out", show_progress=False)
    content = _instances(tmp_path)
    content["images"].append({"id": 9, "file_name": "train/cat.png", "height": 2, "width": 2})
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="7 and 9 are both called cat"):
        import_regions(config, tmp_path / "out", show_progress=False)


def _panda(folder: Path, photographs: Path) -> None:
    image = np.asarray(Image.open(photographs / "coffee.png"))
    masks = [np.zeros(image.shape[:2], bool) for _ in range(2)]
    masks[0][:50], masks[1][50:] = True, True
    rles = [{"size": list(mask.shape), "counts": encode(mask).counts} for mask in masks]
    for split in ("train", "test"):
        for degradation in ("gt", "blur", "mixed", "rain"):
            (folder / degradation / split).mkdir(parents=True)
            view = image if split == "test" else image[:, ::-1]  # two photographs, not one in two splits
            pixels = np.ascontiguousarray(view if degradation == "gt" else view // 2)
            Image.fromarray(pixels).save(folder / degradation / split / "7.png")
    (folder / "stats").mkdir()
    for split in ("train", "test"):
        for degradation, kinds in (("blur", "blur blur"), ("mixed", "clean pixelate"), ("rain", "rain rain")):
            regions: list[dict[str, Any]] = [
                {"name": f"r{i}", "bbox": [0, 0, 1, 1], "segmentation_mask": rles[i], "severity": 2 * (kind != "clean"),
                 "degradation": kind, "score_fr": 0.5 if kind != "clean" else 0.98}
                for i, kind in enumerate(kinds.split())
            ]  # fmt: skip
            regions.insert(1, {**regions[0], "segmentation_mask": None})
            stats = {"7.png": {"score_fr": 0.6, "relations": [], "regions": regions}}
            (folder / "stats" / f"{split}_stats_{degradation}.json").write_text(json.dumps(stats))


def test_pandabench(photographs: Path, tmp_path: Path) -> None:
    _panda(tmp_path / "panda", photographs)
    summary = _import(tmp_path / "out", format="pandabench", source=tmp_path / "panda")
    assert (summary.n_images, summary.n_samples, summary.n_regions) == (2, 4, 4)
    assert [f.image_id for f in summary.failed] == ["train_stats_rain.json", "test_stats_rain.json"]
    rows = RoiDataset(tmp_path / "out", "test")
    items = {item.sample.sample_id: item for item in rows}
    assert sorted(items) == ["test/7#blur", "test/7#mixed"]
    mixed = items["test/7#mixed"]
    assert [region.name for region in mixed.regions] == ["r0", "r1"]
    assert [label.quality for label in mixed.labels] == pytest.approx([0.98, 0.5], abs=1e-6)
    assert [label.severities for label in mixed.labels] == [(0,) * 8, (0, 0, 0, 0, 0, 0, 0, 3)]
    assert mixed.image_quality == pytest.approx(0.6, abs=1e-6) and (mixed.image == mixed.reference // 2).all()
    assert validate_dataset(tmp_path / "out", show_progress=False).ok
    with pytest.raises(DataError, match="not laid out like PandaBench"):
        _import(tmp_path / "no", format="pandabench", source=photographs)


def test_qground_says_what_it_found_and_takes_a_mapping(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "qground"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    coffee = Image.open(photographs / "coffee.png")
    coffee.save(folder / "images" / "coffee.png")
    mask = np.zeros((coffee.height, coffee.width), np.uint8)
    mask[10:50, 10:60] = 255
    Image.fromarray(mask).save(folder / "masks" / "m.png")
    annotations = [{"kind": "haziness", "file": "m.png", "level": "poor"}]
    (folder / "a.json").write_text(json.dumps([{"id": "c", "image": "coffee.png", "ann_list": annotations}]))
    settings = {"format": "qground", "source": folder}
    with pytest.raises(DataError, match=r"ann_list: \[\{kind: text, file: text, level: text\}.*name qground\.mask"):
        _import(tmp_path / "a", **settings, qground={"file": "a.json"})
    keys = {"file": "a.json", "mask": "file", "type": "kind", "quality": "level"}
    with pytest.raises(DataError, match=r"type 'haziness' is not in qground\.types"):
        _import(tmp_path / "b", **settings, qground={**keys, "types": {"noise": "noise"}})
    _import(tmp_path / "c", **settings, qground={**keys, "types": {"haziness": "contrast"}})
    item = RoiDataset(tmp_path / "c")[0]
    assert item.labels[0].quality == 0.25 and item.regions[0].name == "haziness"
    assert (item.masks[0] == (mask > 0)).all() and item.labels[0].severities[5] == severity_of(0.25) == 4
