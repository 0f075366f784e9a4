"""RAW files: a Bayer DNG made here comes back as the light that it was made of; anything else is refused by name."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from data_builders.contact_sheet import contact_sheet
from data_builders.exporters import export_dataset
from data_builders.labelers import make_labeler
from data_builders.pipeline import build_dataset
from data_builders.sources import list_sources
from data_builders.validate import validate_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.exchange import ExportConfig
from seagull_tune.config.labels import LabelSource
from seagull_tune.data.reader import RoiDataset
from seagull_tune.data.schema import read_manifest
from seagull_tune.distortions.linear import LIGHT_MAX, to_light
from seagull_tune.distortions.scene import SCENE_WHITE, develop
from seagull_tune.errors import DataError, MissingDependencyError
from seagull_tune.images import read_image, read_photograph
from seagull_tune.raw import MIDDLE_GREY, decode_raw, expose
from tests.tiny_dng import dng_bytes

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def _light() -> np.ndarray:
    """Linear light of a photograph, (192, 256, 3), at the dark end of a sensor's range."""
    return to_light(np.ascontiguousarray(skimage.data.coffee()[60:252, 150:406])).astype(np.float64) / LIGHT_MAX * 0.4


@pytest.fixture
def dng(tmp_path: Path) -> Path:
    """A DNG of that light; the test skips where rawpy is not installed."""
    pytest.importorskip("rawpy", reason="rawpy (extra raw) is not installed")
    path = tmp_path / "cup.dng"
    path.write_bytes(dng_bytes(_light()))
    return path


def test_exposure_brings_the_mean_to_middle_grey() -> None:
    linear = np.rint(_light() * 65535).astype(np.uint16)
    scene = expose(linear)
    assert float((scene.reshape(-1, 3) @ LUMINANCE).mean()) / SCENE_WHITE == pytest.approx(MIDDLE_GREY, rel=0.001)
    bright = expose(np.full((4, 4, 3), 40000, dtype=np.uint16))
    assert int(bright[0, 0, 0]) == round(40000 * SCENE_WHITE / 65535)  # never darker than the sensor's own white
    dark = expose(np.full((4, 4, 3), 100, dtype=np.uint16))
    assert int(dark[0, 0, 0]) == round(400 * SCENE_WHITE / 65535)  # two stops, no more
    assert expose(np.zeros((4, 4, 3), dtype=np.uint16)).max() == 0


def test_a_raw_file_becomes_the_light_that_it_was_made_of(dng: Path) -> None:
    scene = read_photograph(dng)
    light = _light()
    assert scene.shape == light.shape and scene.dtype == np.uint16
    gain = MIDDLE_GREY / float((light.reshape(-1, 3) @ LUMINANCE).mean())
    error = np.abs(scene / SCENE_WHITE - light * gain)[8:-8, 8:-8]
    # Demosaicing guesses two of three colours: right on the whole, wrong on fine edges.
    assert float(np.median(error)) < 0.01 and float(error.mean()) < 0.02
    assert np.array_equal(read_image(dng), develop(scene)) and read_image(dng).dtype == np.uint8


def test_what_is_no_raw_file_is_refused_by_name(dng: Path, tmp_path: Path) -> None:
    whole = dng.read_bytes()
    for name, content in (("text.NEF", b"no photograph"), ("empty.cr2", b""), ("cut.dng", whole[:2000])):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: not a camera RAW file .* develop it to JPEG"):
            read_image(path)
    with pytest.raises(DataError, match="256x192 = 49,152 pixels is above the limit of 1,000"):
        read_image(dng, max_pixels=1000)


def test_a_build_names_what_is_no_raw_file_and_builds_the_others(dng: Path, tmp_path: Path) -> None:
    (tmp_path / "text.NEF").write_bytes(b"no photograph")
    (tmp_path / "cut.arw").write_bytes(dng.read_bytes()[:2000])
    config = BuildConfig(source=str(dng.parent), samples_per_image=2, max_side=160)
    summary = build_dataset(config, tmp_path / "set", show_progress=False)
    assert summary.n_images == 1 and [failure.image_id for failure in summary.failed] == ["cut", "text"]
    for failure, name in zip(summary.failed, ("cut.arw", "text.NEF"), strict=True):
        assert f"{name}: not a camera RAW file" in failure.reason


def test_without_rawpy_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(MissingDependencyError, match=r"a\.dng: .* pip install 'seagull-tune\[raw\]'"):
        decode_raw(b"", "a.dng", 100)


def test_a_data_set_of_raw_files(dng: Path, tmp_path: Path) -> None:
    mix = {"pristine": 0.2, "one": 0.8, "two": 0.0, "types": ["exposure", "blur", "compression"]}
    config = BuildConfig.model_validate(
        {"source": str(dng.parent), "samples_per_image": 8, "mix": mix, "max_side": 160}
    )
    summary = build_dataset(config, tmp_path / "set", show_progress=False)
    assert (summary.n_images, summary.failed) == (1, ())
    assert {"rawpy", "libraw"} <= set(read_manifest(tmp_path / "set")["versions"])
    for item in RoiDataset(tmp_path / "set"):
        assert item.image.dtype == np.uint8 and item.image.shape == (120, 160, 3) == item.reference.shape
        assert item.sample.recipe is not None
        assert np.array_equal(item.image, item.reference) == item.sample.recipe.pristine
        first = item.reference
    assert validate_dataset(tmp_path / "set", show_progress=False).ok
    contact_sheet(tmp_path / "set", tmp_path / "sheet.png")
    export_dataset(tmp_path / "set", tmp_path / "out", ExportConfig(format="seagull"), show_progress=False)
    (reference,) = (tmp_path / "out/Ref.Images").iterdir()
    assert np.array_equal(read_image(reference), first)


def test_other_labelers_judge_a_raw_file_against_its_development(dng: Path, tmp_path: Path) -> None:
    values = {"source": str(dng.parent), "samples_per_image": 3, "max_side": 160, "labels": {"method": "gmsd"}}
    build_dataset(BuildConfig.model_validate(values), tmp_path / "set", show_progress=False)
    assert read_manifest(tmp_path / "set")["labels"]["version"] == "gmsd-1"
    labeler = make_labeler(LabelSource(method="gmsd"))
    for item in RoiDataset(tmp_path / "set"):
        found = labeler.open(item.reference, item.masks).measure(item.image)
        assert [label.quality for label in item.labels] == pytest.approx(found.quality.tolist(), abs=1e-6)


def test_a_raw_file_and_the_cameras_jpeg_are_one_scene(tmp_path: Path) -> None:
    (tmp_path / "one.dng").write_bytes(b"raw")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "one.jpg")
    Image.fromarray(np.ones((40, 40, 3), np.uint8)).save(tmp_path / "two.jpg")
    sources = list_sources(BuildConfig(source=str(tmp_path)))
    assert [source.image_id for source in sources] == ["one.dng", "one.jpg", "two"]
    assert [source.scene_id for source in sources] == ["one.dng", "one.dng", "two"]
