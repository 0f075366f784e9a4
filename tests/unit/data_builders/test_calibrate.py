"""Fitting the severity table on a real photograph."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from data_builders import calibrate, severity_fit
from data_builders.calibrate import main, named_variants, table_of, write_table
from data_builders.calibration_report import VariantFit, write_report
from data_builders.severity_fit import (
    TARGETS,
    Photograph,
    built_in_photographs,
    fit_variant,
    folder_photographs,
    median_quality,
)
from seagull_tune.config.base import load_config
from seagull_tune.config.distortions import SeverityLevel, SeverityTable
from seagull_tune.distortions import VARIANTS
from seagull_tune.distortions.severity import severity_table
from seagull_tune.errors import DataError


@pytest.fixture(scope="module")
def photographs() -> list[Photograph]:
    """One small photograph, prepared."""
    return [Photograph.of(np.ascontiguousarray(skimage.data.coffee()[60:252, 150:406]))]


def test_fitted_levels_meet_the_targets(photographs: list[Photograph], tmp_path: Path) -> None:
    variant = VARIANTS["exposure", "under"]
    fit = fit_variant(variant, photographs, TARGETS, grid=9)
    levels = fit.levels
    assert [level.severity for level in levels] == [1, 2, 3, 4, 5]
    stops = [level.params["stops"] for level in levels]
    assert stops == sorted(stops)
    for level, target in zip(levels, TARGETS, strict=True):
        assert median_quality(variant, level.params, photographs) == pytest.approx(target, abs=0.03)
        assert variant.from_strength(level.strength) == pytest.approx(level.params, rel=1e-3)
    assert fit.curve[0][0] == 0.0 and [quality for _, quality in fit.curve] == sorted(
        (quality for _, quality in fit.curve), reverse=True
    )
    table = table_of([fit], "a test")
    assert table == SeverityTable(targets=TARGETS, measured_on="a test", variants={"exposure": {"under": levels}})
    write_table(table, tmp_path / "severity.yaml")
    assert load_config(SeverityTable, tmp_path / "severity.yaml") == table


def test_a_variant_that_cannot_reach_a_target_does_not_offer_it(photographs: list[Photograph]) -> None:
    levels = fit_variant(VARIANTS["colorfulness", "desaturate"], photographs, (0.9, 0.001), grid=5).levels
    assert [level.severity for level in levels] == [1]


def test_sources_of_photographs(tmp_path: Path) -> None:
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in built_in_photographs())
    with pytest.raises(DataError, match=r"no .* photograph"):
        folder_photographs(tmp_path, 3)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.jpg is not a readable image"):
        folder_photographs(tmp_path, 3)


def test_a_new_variant_leaves_the_others_as_they_are() -> None:
    kept = severity_table()
    level = SeverityLevel(severity=1, strength=0.5, params={"sigma": 1.0}, quality=0.75)
    fit = VariantFit("blur", "gaussian", ((0.0, 1.0), (0.5, 0.75)), (level,))
    table = table_of([fit], kept.measured_on, kept)
    assert table.variants["blur"]["gaussian"] == (level,)
    assert table.variants["blur"]["motion"] == kept.variants["blur"]["motion"]
    assert {name: list(of) for name, of in table.variants.items()} == {
        name: list(of) for name, of in kept.variants.items()
    }
    assert table.measured_otherwise == kept.measured_otherwise
    assert table_of([fit], "one", kept).measured_otherwise == {**kept.measured_otherwise, "blur/gaussian": "one"}
    with pytest.raises(DataError, match=r"on 'my eyes', .* would not compare\. Fit all variants"):
        table_of([fit], "one", kept.model_copy(update={"measured_on": "my eyes"}))


def test_variants_are_named_by_type_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(named_variants([])) == len(VARIANTS)
    chosen = named_variants(["noise/banding", "blur/shake"])
    assert [variant.variant for variant in chosen] == ["shake", "banding"]
    with pytest.raises(SystemExit) as stopped:
        main(["--variants", "blur"])
    assert stopped.value.code == 2 and "write TYPE/NAME" in capsys.readouterr().err
    with pytest.raises(DataError, match="Did you mean 'shake'"):
        named_variants(["blur/shak"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "'0' is not allowed: a whole number from 1"),
        (["--workers", "-2"], "'-2' is not allowed: a whole number from 1"),
        (["--count", "0"], "'0' is not allowed: a whole number from 1"),
        (["--images", "nowhere", "--out", "table.yaml"], "There is no folder nowhere of photographs"),
        (["--out", "a-file/table.yaml"], "table.yaml cannot be written"),
        (["--out", "table.yaml", "--report", "curves.pdf"], r"ends in .png"),
        (["--out", "table.yaml", "--report", "a-file/curves.png"], "curves.png cannot be written"),
    ],
)
def test_what_cannot_end_well_is_told_before_the_fit(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a-file").touch()
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and message in said and "Traceback" not in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["a-file"]


@pytest.mark.parametrize(("folder", "name"), [("holiday", "holiday"), ("bsds500/images", "bsds500")])
def test_the_table_says_which_folder_it_was_measured_on(
    folder: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(skimage.data.coffee()[:64, :64]).save(tmp_path / folder / "one.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibrate, "fit_all", lambda variants, photographs, workers: [])
    main(["--images", folder, "--out", "table.yaml"])
    assert f"and 1 of {name}; measure" in (tmp_path / "table.yaml").read_text()


def _die(name: tuple[str, str]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_told(photographs: list[Photograph], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(severity_fit, "_fit_shared", _die)
    with pytest.raises(DataError, match=r"A worker process died .*2 ran.*fewer --workers"):
        severity_fit.fit_all([VARIANTS["exposure", "over"]], photographs, workers=2)


def test_the_report_is_a_picture(photographs: list[Photograph], tmp_path: Path) -> None:
    fits = [fit_variant(VARIANTS[key], photographs, grid=5) for key in (("exposure", "over"), ("contrast", "haze"))]
    write_report(fits, TARGETS, tmp_path / "out" / "curves.png")
    with Image.open(tmp_path / "out" / "curves.png") as picture:
        assert picture.width > picture.height > 300
    with pytest.raises(DataError, match=r"ends in \.png"):
        write_report(fits, TARGETS, tmp_path / "curves.html")
