"""Building: repeatable, resumable, one data set per folder, bad photographs reported."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import filelock
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_builders.executors import LocalExecutor
from data_builders.pipeline import build_dataset, plan_build
from data_builders.shards import seed_of
from seagull_tune.config.data import BuildConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.data.schema import METADATA_KEY, open_tables, read_manifest
from seagull_tune.errors import DataError
from tests.tiny_builds import content


def _config(folder: Path, **more: Any) -> BuildConfig:
    return BuildConfig.model_validate({"source": str(folder), "samples_per_image": 2, "shard_images": 1, **more})


def test_a_seed_depends_on_all_its_parts() -> None:
    assert seed_of(0, "a", 1) == seed_of("0", "a", "1")
    assert len({seed_of(0, "a", 1), seed_of(0, "a1"), seed_of(0, "a", 1, "x"), seed_of(1, "a", 1)}) == 4
    assert 0 <= seed_of("x") < 2**63


def test_building_twice_does_nothing_and_gives_the_same(photographs: Path, tmp_path: Path) -> None:
    first = build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    assert (first.n_images, first.n_samples, first.n_shards, first.n_built, first.failed) == (3, 6, 3, 3, ())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.*")}
    again = build_dataset(_config(photographs, workers=2), tmp_path / "a", show_progress=False)
    assert again.n_built == 0 and again.recipe_hash == first.recipe_hash
    assert {path: path.stat().st_mtime_ns for path in before} == before
    build_dataset(_config(photographs), tmp_path / "b", show_progress=False)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_the_recipes_do_not_depend_on_the_shards(photographs: Path, tmp_path: Path) -> None:
    small = build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    large = build_dataset(_config(photographs, shard_images=9), tmp_path / "b", show_progress=False)
    other = build_dataset(_config(photographs, seed=1), tmp_path / "c", show_progress=False)
    assert small.recipe_hash == large.recipe_hash != other.recipe_hash
    tables = [open_tables(tmp_path / name)[1].table.to_pylist() for name in "ab"]
    assert tables[0] == tables[1]


def test_another_configuration_in_the_same_folder_is_refused(photographs: Path, tmp_path: Path) -> None:
    build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    with pytest.raises(DataError, match=r"(?s)another configuration.*samples_per_image: was 2, is now 3.*seed: was 0"):
        build_dataset(_config(photographs, samples_per_image=3, seed=9), tmp_path / "a", show_progress=False)
    changed = tmp_path / "photographs"
    shutil.copytree(photographs, changed)
    build_dataset(_config(changed), tmp_path / "a", show_progress=False)  # moved, but the same: nothing to do
    assert read_manifest(tmp_path / "a")["image_root"] == str(changed)
    (changed / "coffee.png").unlink()
    with pytest.raises(DataError, match="the photographs"):
        build_dataset(_config(changed), tmp_path / "a", show_progress=False)


def test_an_unfinished_data_set_of_other_versions_is_refused(photographs: Path, tmp_path: Path) -> None:
    build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    manifest = read_manifest(tmp_path / "a")
    manifest["complete"] = False
    manifest["versions"]["opencv"] = "0.0.1"
    (tmp_path / "a" / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"opencv: was '0\.0\.1', is now"):
        build_dataset(_config(photographs), tmp_path / "a", show_progress=False)


def test_bad_photographs_are_reported_and_the_others_built(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(photographs, folder)
    (folder / "a_text.jpg").write_text("not an image")
    whole = (photographs / "coffee.png").read_bytes()
    (folder / "b_cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(folder / "c_dot.png")
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(folder / "d_large.png")
    summary = build_dataset(_config(folder, max_pixels=30_000), tmp_path / "a", show_progress=False)
    assert summary.n_images == 3
    reasons = {failure.image_id: failure.reason for failure in summary.failed}
    assert sorted(reasons) == ["a_text", "b_cut", "c_dot", "d_large"]
    assert "not an image" in reasons["a_text"] and "truncated" in reasons["b_cut"]
    assert "too small" in reasons["c_dot"] and "limit" in reasons["d_large"]
    assert all(f"{name}." in reason for name, reason in reasons.items())
    assert "failed: c_dot" in summary.describe()
    assert [entry["image_id"] for entry in read_manifest(tmp_path / "a")["failed"]] == sorted(reasons)
    again = build_dataset(_config(folder, max_pixels=30_000), tmp_path / "a", show_progress=False)
    assert again.failed == summary.failed


def test_nothing_but_bad_photographs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("no")
    with pytest.raises(DataError, match=r"(?s)No photograph could be built.*a\.jpg"):
        build_dataset(_config(tmp_path / "in"), tmp_path / "out", show_progress=False)


def test_a_full_disk_keeps_finished_shards(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_dataset(_config(photographs), tmp_path / "whole", show_progress=False)
    write, calls = pq.write_table, []

    def full_at_the_fourth(table: Any, where: Any, **more: Any) -> None:
        calls.append(where)
        if len(calls) == 4:  # the second shard's samples: its images are there already
            Path(where).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, where, **more)

    monkeypatch.setattr(pq, "write_table", full_at_the_fourth)
    with pytest.raises(DataError, match=r"shard-00001.*the disk is full.*run the same build again"):
        build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    monkeypatch.undo()
    assert len(list((tmp_path / "a" / "samples").iterdir())) == 1
    with pytest.raises(DataError, match="not finished"):
        RoiDataset(tmp_path / "a")
    resumed = build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    assert resumed.n_built == 2
    assert content(tmp_path / "a") == content(tmp_path / "whole")


def test_a_real_full_device_is_told_as_such(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    import pyarrow as pa

    from data_builders.shards import write_table

    (tmp_path / "x.parquet.partial").symlink_to("/dev/full")
    with pytest.raises(DataError, match="the disk is full"):
        write_table(pa.table({"a": list(range(1000))}), tmp_path / "x.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_removed_shard_is_redone_alone(photographs: Path, tmp_path: Path) -> None:
    build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    before = content(tmp_path / "a")
    max((tmp_path / "a" / "images").iterdir()).unlink()
    assert build_dataset(_config(photographs), tmp_path / "a", show_progress=False).n_built == 1
    assert content(tmp_path / "a") == before


def _cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])


def _other_summary(shard: Path, key: str, value: object) -> None:
    table = pq.read_table(shard)
    stored = json.loads(table.schema.metadata[METADATA_KEY])
    stored["summary"][key] = value
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(stored)}), shard)


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        lambda shard: shard.write_bytes(b""),
        lambda shard: _other_summary(shard, "recipe_sum", "no number"),
        lambda shard: _other_summary(shard, "n_legions", 3),
        lambda shard: _other_summary(shard, "failed", None),
    ],
    ids=["cut", "empty", "sum", "key", "failed"],
)
def test_a_corrupt_shard_is_named_and_redone_alone(
    photographs: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    before = content(tmp_path / "a")
    shard = max((tmp_path / "a" / "samples").iterdir())
    damage(shard)
    with pytest.raises(DataError, match=rf"{shard.name}.*Remove it and build again"):
        build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    shard.unlink()
    assert build_dataset(_config(photographs), tmp_path / "a", show_progress=False).n_built == 1
    assert content(tmp_path / "a") == before


def test_foreign_folders_and_second_builds_are_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not empty and is no data set"):
        build_dataset(_config(photographs), photographs, show_progress=False)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        build_dataset(_config(photographs), tmp_path / "file", show_progress=False)
    (tmp_path / "a").mkdir()
    with filelock.FileLock(tmp_path / "a" / ".lock"), pytest.raises(DataError, match="Another build is running"):
        build_dataset(_config(photographs), tmp_path / "a", show_progress=False)


def test_two_builds_at_once_do_no_harm(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_dataset(_config(photographs), tmp_path / "alone", show_progress=False)
    refused = []

    class Meanwhile(LocalExecutor):
        def run(self, *arguments: Any) -> Any:
            for result in super().run(*arguments):
                with pytest.raises(DataError, match="Another build is running") as caught:
                    build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
                refused.append(caught.value)
                yield result

    monkeypatch.setattr("data_builders.pipeline.make_executor", lambda config: Meanwhile(config.workers))
    assert build_dataset(_config(photographs), tmp_path / "a", show_progress=False).n_built == 3
    assert len(refused) == 3 and content(tmp_path / "a") == content(tmp_path / "alone")


def test_label_maps_give_the_regions(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    shutil.copytree(photographs, folder)
    maps = tmp_path / "maps"
    maps.mkdir()
    labels = np.zeros((150, 150), np.uint8)
    labels[:, :70], labels[:, 70:140], labels[0, 145:] = 1, 5, 9  # the last one is below 2 %
    Image.fromarray(labels).save(maps / "astronaut.png")
    Image.fromarray(labels).save(maps / "chelsea.png")  # another size than the photograph
    regions = {"method": "label_maps", "dir": str(maps)}
    summary = build_dataset(_config(folder, regions=regions, max_side=75), tmp_path / "a", show_progress=False)
    reasons = {failure.image_id: failure.reason for failure in summary.failed}
    assert sorted(reasons) == ["chelsea", "coffee"]
    assert "sizes must be equal" in reasons["chelsea"] and "no label map" in reasons["coffee"]
    item = RoiDataset(tmp_path / "a")[0]
    assert [region.name for region in item.regions] == ["label 1", "label 5"]
    assert item.masks[0][:, :35].all() and not item.masks[0][:, 35:].any()
    labels[:] = cv2.flip(labels, 1)
    Image.fromarray(labels).save(maps / "astronaut.png")
    with pytest.raises(DataError, match="label maps"):
        build_dataset(_config(folder, regions=regions, max_side=75), tmp_path / "a", show_progress=False)


def test_a_plan_describes_itself_and_writes_nothing(photographs: Path, tmp_path: Path) -> None:
    plan = plan_build(_config(photographs, split={"test": 0.34}), tmp_path / "a", show_progress=False)
    assert "3 photographs (3 scenes: 2 train, 1 test)" in plan.describe()
    assert len(plan.shards) == 3 and not (tmp_path / "a").exists()


def test_an_unexpected_error_names_the_photograph(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("data_builders.shards.render", broken)
    with pytest.raises(ZeroDivisionError) as caught:
        build_dataset(_config(photographs), tmp_path / "a", show_progress=False)
    assert "astronaut.png" in caught.value.__notes__[0]
    assert list((tmp_path / "a").glob("samples/*")) == []
