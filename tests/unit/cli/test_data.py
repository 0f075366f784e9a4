"""`build`, `validate`, `stats`, `lint-prompts`, `messages` and `doctor` on real photographs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from seagull_tune.cli.app import DONE_IN_PART, REFUSED
from seagull_tune.config.base import resolve_asset

SMALL = ("--samples", "2", "--seed", "5", "--workers", "1", "--set", "max_side=96", "--set", "split={test: 0.0}")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("coffee", "chelsea"):
        Image.fromarray(np.ascontiguousarray(getattr(skimage.data, name)()[:200, :200])).save(folder / f"{name}.png")
    return folder


def test_build_validate_stats(run: Callable, photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    line = ("build", "--images", photos, "--out", data, *SMALL)
    first = run(*line)
    assert first.exit_code == 0, first.output
    assert "4 samples of 2 images" in first.stdout
    again = run(*line)
    assert again.exit_code == 0 and "0 of 1 shards built now" in again.stdout
    checked = run("validate", data)
    assert checked.exit_code == 0 and "all valid" in checked.stdout
    shown = run("stats", data, "--sheet", tmp_path / "sheet.png", "--set", "cell=64")
    assert shown.exit_code == 0 and "train" in shown.stdout
    assert Image.open(tmp_path / "sheet.png").width > 64


def test_validate_names_what_is_wrong(run: Callable, photos: Path, tmp_path: Path) -> None:
    here = tmp_path / "photos"
    here.mkdir()
    for path in photos.iterdir():
        (here / path.name).write_bytes(path.read_bytes())
    assert run("build", "--images", here, "--out", tmp_path / "data", *SMALL).exit_code == 0
    (here / "coffee.png").write_bytes((here / "chelsea.png").read_bytes())
    result = run("validate", tmp_path / "data")
    assert result.exit_code == DONE_IN_PART and "coffee" in result.stdout
    assert run("validate", tmp_path / "data", "--tables-only").exit_code == 0
    assert run("validate", tmp_path / "data", "--image-root", photos).exit_code == 0


@pytest.fixture
def terse_prompts(tmp_path: Path) -> Path:
    """The shipped prompts with a wording too few."""
    folder = Path(shutil.copytree(resolve_asset("prompts"), tmp_path / "terse"))
    path = folder / "judgement.yaml"
    text = path.read_text()
    assert '  - "{judgement}"\n' in text
    path.write_text(text.replace('  - "{judgement}"\n', ""))
    return folder


def test_prompts_are_linted(run: Callable, refused: Callable, terse_prompts: Path, tmp_path: Path) -> None:
    clean = run("lint-prompts")
    assert clean.exit_code == 0 and "nothing to change" in clean.stdout
    found = run("lint-prompts", terse_prompts)
    assert found.exit_code == DONE_IN_PART and "judgement.yaml: 5 answers; at least 6 are wanted" in found.stdout
    assert run("lint-prompts", terse_prompts, "--set", "answers=5").exit_code == 0
    assert "no prompt folder" in refused("lint-prompts", tmp_path / "none")


def test_validate_lints_the_prompts(run: Callable, photos: Path, terse_prompts: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert run("build", "--images", photos, "--out", data, *SMALL).exit_code == 0
    found = run("validate", data, "--prompts", terse_prompts)
    assert found.exit_code == DONE_IN_PART
    assert f"prompts in {terse_prompts}: judgement.yaml: 5 answers; at least 6 are wanted" in found.stdout
    assert run("validate", data, "--prompts", terse_prompts, "--set", "lint.answers=5").exit_code == 0


def test_messages_are_written(run: Callable, refused: Callable, photos: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "messages.jsonl"
    assert run("build", "--images", photos, "--out", data, *SMALL).exit_code == 0
    result = run("messages", data, "--out", out, "--visits", "2", "--set", "conversation.turns=1")
    assert result.exit_code == 0 and "8 conversations" in result.stdout
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 8 and all(len(line["messages"]) == 3 for line in lines)
    assert "split 'test'" in refused("messages", data, "--split", "test", "--out", out)
    assert "no prompt folder" in refused("messages", data, "--prompts", tmp_path / "none", "--out", out)


def test_a_photograph_that_cannot_be_used_is_named(run: Callable, photos: Path, tmp_path: Path) -> None:
    here = tmp_path / "photos"
    here.mkdir()
    (here / "good.png").write_bytes((photos / "coffee.png").read_bytes())
    (here / "bad.jpg").write_bytes(b"no image")
    Image.new("RGB", (1, 1)).save(here / "one.png")
    result = run("build", "--images", here, "--out", tmp_path / "data", *SMALL)
    assert result.exit_code == DONE_IN_PART
    assert "failed: bad" in result.stdout and "failed: one" in result.stdout and "2 failed" in result.stdout


def test_builds_that_cannot_be(refused: Callable, photos: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "data")
    assert "no such folder" in refused("build", "--images", tmp_path / "none", *out)
    assert "no such folder of label maps" in refused(
        "build", "--images", photos, "--regions", tmp_path / "none", *out, *SMALL
    )
    said = refused("build", "--images", photos, *out, *SMALL, "--max-pixels", "100")
    assert "above the limit of 100" in said and "coffee" in said
    sam = ("build", "--images", photos, *out, "--sam-checkpoint", tmp_path / "none.pth")
    assert "none.pth: no such SAM checkpoint" in refused(*sam, "--set", "regions.sam.dtype=bfloat16")
    assert "Did you mean 'points_per_side'?" in refused(*sam, "--set", "regions.sam.point_per_side=8")
    assert "belongs to method 'sam'" in refused("build", *out, "--set", "regions.sam.dtype=float16")
    assert "Did you mean 'samples_per_image'?" in refused("build", *out, "--set", "samples_per_imag=3")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("x")
    assert "letter.txt" in refused("build", "--images", photos, "--out", tmp_path / "other", *SMALL)


def test_a_plan_needs_no_folder(run: Callable, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("build", "--images", photos, "--plan", "1000000", *SMALL)
    assert result.exit_code == 0, result.output
    assert "1,000,000 distorted images of 500,000 photographs" in result.stdout
    found = dict(re.findall(r"^  ([\w ]+): +(.+)$", result.stdout, re.MULTILINE))
    # A sample of 96 pixels takes a processor milliseconds, and some hundred bytes: a wide net catches wrong units.
    assert 0.05 < float(found["CPU hours"].replace(",", "")) < 500
    assert found["GPU hours"].startswith("0 ")
    size = re.match(r"([\d.,]+) (MB|GB)", found["bytes on disk"])
    assert size is not None
    assert 50e6 < float(size[1].replace(",", "")) * {"MB": 1e6, "GB": 1e9}[size[2]] < 20e9
    times = found["time on n machines of 1 process"]
    assert re.fullmatch(r"1: [\d.]+ (min|h|days), 4: .+, 16: .+, 64: [\d.]+ (min|h|days)", times)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_comes_before_a_folder(run: Callable, photos: Path, tmp_path: Path) -> None:
    result = run("build", "--images", photos, "--plan", "10", "--out", tmp_path / "data", *SMALL)
    assert result.exit_code == 0 and "10 distorted images of 5 photographs" in result.stdout
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", ["0", "-5", "many", "1.5"])
def test_a_plan_of_no_number(run: Callable, photos: Path, number: str) -> None:
    result = run("build", "--images", photos, f"--plan={number}", *SMALL)
    assert result.exit_code == REFUSED and result.stdout == ""
    assert "Invalid value for '--plan'" in result.stderr and "Traceback" not in result.stderr


def test_a_build_without_a_folder(refused: Callable, photos: Path) -> None:
    for more in ((), ("--dry-run",)):
        said = refused("build", "--images", photos, *SMALL, *more)
        assert said.startswith("ConfigError: Where is the data set to be?") and "--out" in said and "--plan" in said
        assert said.count("\n") == 1


def test_another_schema_version(run: Callable, refused: Callable, photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert run("build", "--images", photos, "--out", data, *SMALL).exit_code == 0
    manifest = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    for command in ("validate", "stats"):
        said = refused(command, data)
        assert "99" in said and said.startswith("DataError")


def test_export_and_import(run: Callable, refused: Callable, photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert run("build", "--images", photos, "--out", data, *SMALL).exit_code == 0
    done = run("export", data, "--format", "seagull", "--out", tmp_path / "out", "--workers", "1")
    assert done.exit_code == 0 and "written now" in done.stdout
    back = run("import", "seagull", tmp_path / "out", "--out", tmp_path / "back")
    assert back.exit_code == 0 and "samples of 2 images" in back.stdout
    assert run("validate", tmp_path / "back").exit_code == 0
    assert run("stats", tmp_path / "back", "--sheet", tmp_path / "sheet.png").exit_code == 0
    labels = run("export", tmp_path / "back", "--format", "llava", "--labels-only", "--out", tmp_path / "llava")
    assert labels.exit_code == 0 and "0 pictures" in labels.stdout
    assert "seagull" in refused("export", data, "--format", "voc", "--out", tmp_path / "x")
    scores = tmp_path / "scores.csv"
    scores.write_text("image,mos\ncoffee.png,3\ngone.png,4\n")
    line = ("import", "mos", scores, "--images", photos, "--out", tmp_path / "mos")
    assert "range and direction" in refused(*line)
    partly = run(*line, "--low", 1, "--high", 5, "--higher-is-better")
    assert partly.exit_code == DONE_IN_PART and "left out: gone.png" in partly.stdout


def test_ratings(run: Callable, refused: Callable, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    lines = [f"coffee.png,{region},r{rater},{1 + region + rater / 10}" for region in range(5) for rater in range(4)]
    lines += [f"coffee.png,{region},odd,{5 - region}" for region in range(5)]
    file.write_text("image,region,rater,score\n" + "\n".join(lines) + "\n")
    scale = ("--low", 1, "--high", 6, "--higher-is-better")
    assert "scale" in refused("ratings", file)
    found = run("ratings", file, *scale, "--out", tmp_path / "regions.csv")
    assert found.exit_code == DONE_IN_PART and "left out: odd (5 ratings): SRCC" in found.stdout
    assert "Krippendorff's alpha" in found.stdout and len((tmp_path / "regions.csv").read_text().splitlines()) == 6
    assert run("ratings", file, *scale, "--set", "rule.min_srcc=-1", "--set", "rule.bt500=false").exit_code == 0
    assert "declared range is 1..3" in refused("ratings", file, "--low", 1, "--high", 3, "--higher-is-better")
    bands = np.repeat(np.arange(1, 6, dtype=np.uint8), 40)
    (tmp_path / "maps").mkdir()
    Image.fromarray(np.tile(bands, (200, 1))).save(tmp_path / "maps" / "coffee.png")
    line = ("import", "ratings", file, "--images", photos, "--out", tmp_path / "rated")
    assert "--regions DIR" in refused(*line, *scale)
    assert "range and direction" in refused(*line, "--regions", tmp_path / "maps")
    made = run(*line, *scale, "--regions", tmp_path / "maps")
    assert made.exit_code == 0 and "1 samples of 1 images with 5 regions" in made.stdout
    assert run("validate", tmp_path / "rated").exit_code == 0
    assert run("stats", tmp_path / "rated", "--sheet", tmp_path / "rated.png").exit_code == 0


def test_not_a_data_set(refused: Callable, tmp_path: Path) -> None:
    assert str(tmp_path) in refused("validate", tmp_path)
    assert "none" in refused("stats", tmp_path / "none")


def test_doctor(run: Callable, tmp_path: Path) -> None:
    report = json.loads(run("doctor", "--json").stdout)
    assert {feature["name"] for feature in report["features"]} >= {"build data sets", "regions from SAM"}
    shown = run("doctor", "--sam-checkpoint", tmp_path / "sam.pth")
    assert shown.exit_code == 0 and "no such file" in " ".join(shown.stdout.split())
